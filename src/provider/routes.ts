// The paths of the engine's endpoints, and the methods that each of them takes.

export const ROUTES = {
  authorization: '/oauth2/authorize',
  token: '/oauth2/token',
  introspection: '/oauth2/introspect',
  revocation: '/oauth2/revoke',
  userinfo: '/oauth2/userinfo',
  jwks: '/oauth2/jwks',
  end_session: '/oauth2/logout',
  pushed_authorization_request: '/oauth2/par',
  device_authorization: '/oauth2/device_authorization',
  code_verification: '/oauth2/device',
} as const;

/** With everything below them. The engine's router ignores case. */
const PAGES = new RegExp(`^(${ROUTES.authorization}|${ROUTES.end_session}|${ROUTES.code_verification})(/|$)`, 'i');

/**
 * Whether people open this path in a browser. Everywhere else errors are JSON, whatever `Accept`
 * prefers (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 7662 §2.3, RFC 8628 §3.2, RFC 9126 §2.3).
 */
export const isPagePath = (path: string): boolean => PAGES.test(path);

/** OpenID Connect Discovery §4, RFC 8414 §3: one document. */
export const DISCOVERY_PATHS = [
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
] as const;

/** What each of them takes. */
export const METHODS: ReadonlyMap<string, readonly string[]> = new Map([
  [ROUTES.authorization, ['GET', 'POST']],
  [ROUTES.token, ['POST']],
  [ROUTES.introspection, ['POST']],
  [ROUTES.revocation, ['POST']],
  [ROUTES.userinfo, ['GET', 'POST']],
  [ROUTES.jwks, ['GET']],
  [ROUTES.end_session, ['GET', 'POST']],
  [ROUTES.pushed_authorization_request, ['POST']],
  [ROUTES.device_authorization, ['POST']],
  [ROUTES.code_verification, ['GET', 'POST']],
]);
