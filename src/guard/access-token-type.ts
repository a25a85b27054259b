// Which JWTs of the issuer are access tokens. `at+jwt` says so by itself (RFC 9068 §4). The general `JWT` says nothing: there the
// claims have to, so that no other kind of JWT passes for one (RFC 8725 §3.12). The server asks here about its own tokens too.

import { boundClientId } from '../client-binding.ts';
import { Fault } from './refusal.ts';

/** RFC 9068 §2.1; or the general one of RFC 7519 §5.1, for software that knows no other. */
export const ACCESS_TOKEN_TYPES = ['at+jwt', 'JWT'] as const;
export type AccessTokenType = (typeof ACCESS_TOKEN_TYPES)[number];

/**
 * Of ID tokens (OpenID Connect Core §2, §3.3.2.11), logout tokens (Back-Channel Logout §2.4) and security events (RFC 8417 §2.2).
 * Lanyard writes none of them into an access token.
 */
const OTHER_KINDS = ['nonce', 'at_hash', 'c_hash', 's_hash', 'sid', 'events'] as const;

/**
 * @param typ of the header
 * @param claims of a JWT whose signature was verified
 * @throws Fault `invalid_token`
 */
export function assertAccessToken(
  typ: unknown,
  claims: Readonly<Record<string, unknown>>,
  accepted: readonly AccessTokenType[],
): void {
  const type = accepted.find((name) => normalized(name) === normalized(typ));
  if (type === undefined) {
    const description = `this API accepts JWTs of the type ${accepted.join(' or ')} (option types of its guard)`;
    throw new Fault('invalid_token', `typ is ${JSON.stringify(typ)}`, { description });
  }
  if (type !== 'JWT') return;
  if (!isBound(claims)) throw notOne('it does not name one client');
  if (typeof claims.jti !== 'string' || claims.jti === '') throw notOne('it has no jti');
  const other = OTHER_KINDS.find((name) => claims[name] !== undefined);
  if (other !== undefined) throw notOne(`it has ${other}`);
}

function isBound(claims: Readonly<Record<string, unknown>>): boolean {
  try {
    boundClientId(claims);
    return true;
  } catch {
    return false;
  }
}

/** RFC 7515 §4.1.9: `application/` may be left out. Media types are not case-sensitive. */
function normalized(typ: unknown): unknown {
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
}

function notOne(reason: string): Fault {
  return new Fault('invalid_token', `a JWT that is no access token: ${reason}`);
}
