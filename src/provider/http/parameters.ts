// The parameters of requests that come through a browser. The engine ignores all others (RFC 6749
// §3.1).

export const AUTHORIZATION_PARAMETERS: ReadonlySet<string> = new Set([
  ...['client_id', 'redirect_uri', 'response_type', 'response_mode', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'dpop_jkt', 'request', 'request_uri', 'registration'],
  ...[
    'resource',
    'audience',
    'authorization_details',
    'claims',
    'acr_values',
    'max_age',
    'prompt',
    'id_token_hint',
    'login_hint',
  ],
  ...['display', 'ui_locales', 'claims_locales'],
]);

export const LOGOUT_PARAMETERS: ReadonlySet<string> = new Set([
  ...['id_token_hint', 'post_logout_redirect_uri', 'state', 'ui_locales', 'client_id', 'logout_hint'],
]);

/**
 * The parameter in which a request carries, from its first check to the code, the scopes that were dropped from `scope` before the user
 * was asked. What a client sends in it by itself is overwritten; a request object with it is refused (http/parameter-shape).
 */
export const DROPPED_SCOPE = 'lanyard_dropped_scope';
