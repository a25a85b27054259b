// Two tabs of one app refresh at the same time with the same token, or an answer gets lost and the app asks again. A rotated refresh
// token that comes back within the grace is refused with words that say so, and its family stays valid; later it is a replay, which
// ends the family (RFC 9700 §4.14.2). A thief gains nothing in that time: there is no token in the answer.

import { type Client, errors } from 'oidc-provider';

const DEFAULT_GRACE_SECONDS = 10;

export function graceSeconds(client: Client): number {
  const { refresh_token_grace_seconds: seconds } = client as { refresh_token_grace_seconds?: number };
  return seconds ?? DEFAULT_GRACE_SECONDS;
}

export function justRotated(): errors.OIDCProviderError {
  return new errors.CustomOIDCProviderError(
    'invalid_grant',
    'this refresh token was used a moment ago; use the one that was issued for it',
  );
}

/** @param consumedAt seconds since 1970 */
export function isWithinGrace(client: Client, consumedAt: number | undefined): boolean {
  return consumedAt !== undefined && Date.now() / 1000 < consumedAt + graceSeconds(client);
}
