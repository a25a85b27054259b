// Where garbage goes in, and what may come out.

import type { TestClient } from './admin.ts';
import { ALICE, CODE_FLOW } from './oauth.ts';
import { startTestServer, type TestServer } from './server.ts';

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

const API = 'https://api.example';

/** A server with a user, an API and an app that may call it. */
export async function startWithApp(): Promise<{ server: TestServer; app: TestClient }> {
  const server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  const app = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
  });
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(app.clientId, API, ['read']);
  return { server, app };
}

/** A stack trace, a path of ours, a statement. */
export const OUR_INSIDE = /\n\s+at |node_modules|\.ts:\d|SELECT |INSERT |Error:/;

/** @throws Error when the answer is 5xx, is neither JSON nor a page, or tells something about our inside */
export async function expectDecent(response: Response, what: string): Promise<void> {
  const text = await response.text();
  const seenAs = `${what}: ${response.status} ${text.slice(0, 300)}`;
  if (response.status >= 500) throw new Error(seenAs);
  if (OUR_INSIDE.test(text)) throw new Error(seenAs);
  const type = response.headers.get('content-type') ?? '';
  if (text !== '' && response.status >= 400 && !/json|text\/html/.test(type)) throw new Error(`${seenAs} (${type})`);
}
