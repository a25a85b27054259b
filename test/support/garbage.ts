// Where garbage goes in, and what may come out.

export const GETS = [
  '/oauth2/authorize',
  '/oauth2/userinfo',
  '/oauth2/jwks',
  '/oauth2/logout',
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
];
export const POSTS = ['/oauth2/token', '/oauth2/introspect', '/oauth2/revoke', '/oauth2/logout/confirm'];
export const UNKNOWN = [
  '/oauth2/',
  '/oauth2/nonsense',
  '/oauth2/authorize/nonsense',
  '/.well-known/nonsense',
  '/oauth2/token/x',
];

/** @throws Error when the answer is 5xx, is neither JSON nor a page, or tells something about our inside */
export async function expectDecent(response: Response, what: string): Promise<void> {
  const text = await response.text();
  const seenAs = `${what}: ${response.status} ${text.slice(0, 300)}`;
  if (response.status >= 500) throw new Error(seenAs);
  // a stack trace, a path of ours, a statement
  if (/\n\s+at |node_modules|\.ts:\d|SELECT |INSERT |Error:/.test(text)) throw new Error(seenAs);
  const type = response.headers.get('content-type') ?? '';
  if (text !== '' && response.status >= 400 && !/json|text\/html/.test(type)) throw new Error(`${seenAs} (${type})`);
}
