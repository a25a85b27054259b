// The revocation policy (RFC 7009). A token of another client: 200 and nothing happens, which tells nobody that it exists.

import type { AccessToken, Client, ClientCredentials, KoaContextWithOIDC, RefreshToken } from 'oidc-provider';
import { mayRevoke } from '../../client-binding.ts';

/** Configuration `features.revocation.allowedPolicy`. */
export function revocationPolicy(
  _ctx: KoaContextWithOIDC,
  caller: Client,
  token: AccessToken | ClientCredentials | RefreshToken,
): boolean {
  if (!mayRevoke(caller.clientId, token.clientId ?? '')) return false;
  // RFC 7009 §2.1: revoking a refresh token takes its grant along; an access token goes alone. The engine revokes the grant
  // of whatever it finds, so an access token that is about to be destroyed forgets it.
  if (token.kind === 'AccessToken') (token as { grantId?: string | undefined }).grantId = undefined;
  return true;
}
