// DPoP (RFC 9449) as the engine wants it: which proofs must carry a nonce of this server. Nonces are derived from a secret that all
// nodes share, and change every minute.

import { decodeJwt } from 'jose';
import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';

/**
 * How far the clock of a client may be off without a nonce. The engine would take five minutes in both directions, and forget after
 * five minutes that a proof was used: one from the future could be used again.
 */
const MAX_OFFSET_SECONDS = 60;

type Dpop = NonNullable<NonNullable<Configuration['features']>['dPoP']>;

/** Configuration `features.dPoP`. @param nonceSecret 256 bits; the same on all nodes */
export function dpop(nonceSecret: Buffer): Dpop {
  return {
    enabled: true,
    nonceSecret,
    // RFC 9449 §4.3, item 11: the time is shown by `iat`, or by a nonce.
    requireNonce: (ctx) => insistsOnNonces(ctx) || !isOfNow(ctx.get('DPoP')),
  };
}

function insistsOnNonces(ctx: KoaContextWithOIDC): boolean {
  return (ctx.oidc.client as { dpop_require_nonce?: boolean } | undefined)?.dpop_require_nonce === true;
}

/** What cannot be read is refused for that. */
function isOfNow(proof: string): boolean {
  try {
    const { iat } = decodeJwt(proof);
    return typeof iat !== 'number' || Math.abs(iat - Date.now() / 1000) <= MAX_OFFSET_SECONDS;
  } catch {
    return true;
  }
}
