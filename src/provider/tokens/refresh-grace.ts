// Two tabs of one app refresh at the same time with the same token, or an answer gets lost and the app asks again. A rotated refresh
// token that comes back within a moment is refused with words that say so, and its family lives on; later it is a replay, which ends
// the family (RFC 9700 §4.14.2). Whoever has stolen it gains nothing in that moment: there is no token in the answer.

import { type Client, errors } from 'oidc-provider';

const DEFAULT_GRACE_SECONDS = 10;

export const JUST_ROTATED = 'this refresh token was used a moment ago; use the one that was issued for it';

export function graceSeconds(client: Client | undefined): number {
  const { refresh_token_grace_seconds: seconds } = (client ?? {}) as { refresh_token_grace_seconds?: number };
  return seconds ?? DEFAULT_GRACE_SECONDS;
}

/** @param consumedAt seconds since 1970 @throws `invalid_grant`, and nothing else happens */
export function assertNotJustRotated(client: Client | undefined, consumedAt: number | undefined): void {
  if (consumedAt === undefined || Date.now() / 1000 >= consumedAt + graceSeconds(client)) return;
  throw new errors.CustomOIDCProviderError('invalid_grant', JUST_ROTATED);
}
