// Two tabs of one app refresh at the same time with the same token, or an answer gets lost and the app asks again. A rotated refresh
// token that comes back within the grace gives tokens once more, a sibling in its family, to a client that authenticates or that
// proves the key of the token, three times at most (storage/artifact-statements decides). A public client without a key is refused
// with words that say why, unless it is registered otherwise: a thief would get the tokens too. Later it is a replay, which ends the
// family (RFC 9700 §4.14.2).

import { type Client, errors, type RefreshToken } from 'oidc-provider';
import type { Consume } from '../storage/writes.ts';

const DEFAULT_GRACE_SECONDS = 10;

interface GraceMetadata {
  readonly refresh_token_grace_seconds?: number;
  readonly refresh_token_reuse_in_grace?: boolean;
  readonly security_profile?: string;
}

export function graceSeconds(client: Client): number {
  const { refresh_token_grace_seconds: seconds } = client as GraceMetadata;
  return seconds ?? DEFAULT_GRACE_SECONDS;
}

/**
 * What a second use needs besides the token; the caller has checked that the client has it.
 * FAPI 2.0 Security Profile §5.3.2.1: clients of that profile have tokens that do not rotate.
 */
export function mayReuse(client: Client, { jkt, 'x5t#S256': x5t }: RefreshToken): boolean {
  const { refresh_token_reuse_in_grace: isAllowedWithoutKey, security_profile: profile } = client as GraceMetadata;
  if (graceSeconds(client) === 0 || profile !== undefined) return false;
  return client.clientAuthMethod !== 'none' || jkt !== undefined || x5t !== undefined || isAllowedWithoutKey === true;
}

/** The first use, or one within the grace: at the commit, PostgreSQL says which. */
export function reusable(
  client: Client,
  accountId: string | undefined,
  requestId: string | undefined,
): NonNullable<Consume['reuse']> {
  const { clientId } = client;
  const type = 'refresh_token.reused_in_grace';
  return {
    graceSeconds: graceSeconds(client),
    event: { type, actor: `client:${clientId}`, clientId, accountId, requestId },
  };
}

export function justRotated(): errors.OIDCProviderError {
  return new errors.CustomOIDCProviderError(
    'invalid_grant',
    'this refresh token was used a moment ago; use the one that was issued for it',
  );
}

/**
 * @param consumedAt seconds since 1970, by the clock of the database
 * @param now by the same clock
 */
export function isWithinGrace(client: Client, consumedAt: number | undefined, now: number): boolean {
  return consumedAt !== undefined && now < consumedAt + graceSeconds(client);
}
