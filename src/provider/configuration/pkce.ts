// Which authorization requests need PKCE (RFC 7636). Without it, an attacker who has got hold of the code of a user could have the app
// redeem it in the session of the attacker, and be signed in as that user (RFC 9700 §4.5). A nonce prevents that as well, as it is in
// the ID token, which the app compares with its own session (§4.5.3.2). It does not help public clients: who has a code of theirs can
// redeem it without the app.

import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';

const CHALLENGE = 'a code_challenge with code_challenge_method=S256 (PKCE)';

/**
 * Configuration `pkce.required`, asked about requests without a `code_challenge`, pushed ones and request objects included.
 * @throws InvalidRequest that says what to send
 */
export function requirePkce({ oidc }: Pick<KoaContextWithOIDC, 'oidc'>, client: Client): false {
  // RFC 9700 §2.1.1; FAPI 2.0 Security Profile §5.3.2.2
  const isAlways = client.clientAuthMethod === 'none' || client.security_profile !== undefined;
  if (isAlways || client.require_pkce === true) {
    throw new errors.InvalidRequest(`send ${CHALLENGE}: this client must use it`);
  }
  const hasNonce = Boolean(oidc.params?.nonce) && oidc.requestParamScopes.has('openid');
  if (client.require_pkce === false || hasNonce) return false;
  throw new errors.InvalidRequest(`send ${CHALLENGE}, or a nonce together with openid in scope`);
}
