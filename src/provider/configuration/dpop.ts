// The configuration of DPoP (RFC 9449): which proofs must carry a nonce of this server. Nonces are
// derived from a secret that all nodes share, and change every minute.

import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { whyKeyFails } from '../../clients/key-rules.ts';
import { hasSecurityProfile } from './fapi.ts';

/**
 * How far the clock of a client may differ without a nonce. The engine accepts five minutes in both
 * directions, and forgets a used proof after five minutes: one from the future could be used again.
 */
const MAX_OFFSET_SECONDS = 60;

/** A proof whose key is too large, or has a large exponent, is longer than this. */
const CHEAP_CHARACTERS = 1_200;

type Dpop = NonNullable<NonNullable<Configuration['features']>['dPoP']>;

/** Configuration `features.dPoP`. @param nonceSecret 256 bits; the same on all nodes */
export function dpop(nonceSecret: Buffer): Dpop {
  return {
    enabled: true,
    nonceSecret,
    requireNonce(ctx) {
      const proof = ctx.get('DPoP');
      if (proof.length > CHEAP_CHARACTERS) assertCheapKey(proof);
      const offsetSeconds = offsetOf(proof);
      if (offsetSeconds > MAX_OFFSET_SECONDS && hasSecurityProfile(ctx.oidc.client)) {
        // FAPI 2.0 Security Profile §5.3.2.1: "shall reject JWTs with an iat or nbf timestamp
        // greater than 60 seconds in the future".
        throw new errors.InvalidDpopProof('DPoP proof iat is too far in the future');
      }
      // RFC 9449 §4.3, item 11: the time is shown by `iat`, or by a nonce.
      return insistsOnNonces(ctx) || Math.abs(offsetSeconds) > MAX_OFFSET_SECONDS;
    },
  };
}

/**
 * For a proof that was used before, the engine would answer that the grant or the token is invalid.
 * @param jti that was used before
 * @throws InvalidDpopProof if it is that of the request's proof (RFC 9449 §5)
 */
export function refuseReplayedProof(ctx: KoaContextWithOIDC | undefined, jti: string): void {
  if (claimsOf(ctx?.get('DPoP') ?? '').jti === jti) throw new errors.InvalidDpopProof('DPoP proof was used before');
}

/**
 * Before the signature is verified with a key that anybody may have chosen.
 * @throws InvalidDpopProof
 */
function assertCheapKey(proof: string): void {
  const detail = whyKeyFails(keyOf(proof));
  if (detail !== undefined) throw new errors.InvalidDpopProof(`the key of the DPoP proof ${detail}`);
}

function keyOf(proof: string): Readonly<Record<string, unknown>> {
  try {
    return { ...decodeProtectedHeader(proof).jwk };
  } catch {
    return {};
  }
}

function insistsOnNonces(ctx: KoaContextWithOIDC): boolean {
  return (ctx.oidc.client as { dpop_require_nonce?: boolean } | undefined)?.dpop_require_nonce === true;
}

/**
 * How far ahead of our clock the proof was made. 0 for one that cannot be read: the engine refuses
 * it for that.
 */
function offsetOf(proof: string): number {
  const { iat } = claimsOf(proof);
  return typeof iat === 'number' ? iat - Date.now() / 1000 : 0;
}

function claimsOf(proof: string): JWTPayload {
  try {
    return decodeJwt(proof);
  } catch {
    return {};
  }
}
