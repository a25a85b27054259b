// The revocation policy (RFC 7009). For a token of another client the answer is 200 and nothing
// happens: it does not reveal that the token exists.

import type { AccessToken, Client, ClientCredentials, KoaContextWithOIDC, RefreshToken } from 'oidc-provider';
import { mayRevoke } from '../../client-binding.ts';

/** Configuration `features.revocation.allowedPolicy`. */
export function revocationPolicy(
  _ctx: KoaContextWithOIDC,
  caller: Client,
  token: AccessToken | ClientCredentials | RefreshToken,
): boolean {
  if (!mayRevoke(caller.clientId, token.clientId ?? '')) return false;
  // RFC 7009 §2.1: a refresh token is revoked with its grant, an access token alone. The engine
  // revokes the grant of every token that has one, so it is removed from an access token.
  if (token.kind === 'AccessToken') (token as { grantId?: string | undefined }).grantId = undefined;
  return true;
}
