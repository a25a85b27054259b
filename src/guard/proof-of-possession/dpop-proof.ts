// DPoP proofs at the resource server (RFC 9449 §4.3, §7). The proof must name the URL of this API,
// which comes from the options and never from a header: otherwise a malicious API could replay the
// proofs that it receives, with its own Host.

import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, errors, jwtVerify } from 'jose';
import { Fault } from '../refusal.ts';
import type { ReplayStore } from './replay-store.ts';

export interface ProofSettings {
  /** accepted algorithms, asymmetric only */
  readonly algorithms: readonly string[];
  readonly maxAgeSeconds: number;
  readonly clockToleranceSeconds: number;
  readonly replayStore: ReplayStore;
}

export interface ProvenKey {
  /** RFC 7638 */
  readonly thumbprint: string;
  /** Called last, so that a request refused for another reason may be retried. @throws Fault */
  assertFirstUse(): Promise<void>;
}

/** FAPI 2.0 Security Profile §5.3.2.1: accept an `iat` "between 0 and 10 seconds in the future". */
const MIN_AHEAD_SECONDS = 10;

const MAX_PROOF_LENGTH = 8 * 1024;
const MAX_JTI_LENGTH = 256;

/** @throws Fault `invalid_dpop_proof` */
export async function verifyProof(
  proof: string | readonly string[] | undefined,
  request: { readonly method: string | undefined; readonly url: URL | undefined; readonly token: string },
  settings: ProofSettings,
): Promise<ProvenKey> {
  // RFC 9449 §4.3: "There is not more than one DPoP HTTP request header field."
  if (typeof proof !== 'string' || proof.includes(',')) throw invalid('there must be exactly one DPoP header');
  if (proof.length > MAX_PROOF_LENGTH) throw invalid('the proof is too large');
  if (request.method === undefined || request.url === undefined) throw invalid('the URL of the request is not known');

  const aheadSeconds = Math.max(MIN_AHEAD_SECONDS, settings.clockToleranceSeconds);
  const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
    algorithms: [...settings.algorithms],
    typ: 'dpop+jwt',
    clockTolerance: aheadSeconds,
  }).catch((error: unknown) => {
    if (error instanceof errors.JOSEError || error instanceof TypeError || error instanceof DOMException) {
      throw invalid(error.message);
    }
    throw error;
  });
  const { iat, jti, htm, htu, ath } = payload;
  if (htm !== request.method) throw invalid('for another method');
  if (typeof htu !== 'string' || !isSameUrl(htu, request.url)) throw invalid('for another URL');
  if (ath !== createHash('sha256').update(request.token).digest('base64url')) throw invalid('for another token');
  const nowSeconds = Date.now() / 1000;
  if (typeof iat !== 'number' || iat > nowSeconds + aheadSeconds) throw invalid('from the future');
  const expiresAt = iat + settings.maxAgeSeconds + settings.clockToleranceSeconds;
  if (expiresAt < nowSeconds) throw invalid('too old');
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI_LENGTH) throw invalid('without a usable jti');

  if (protectedHeader.jwk === undefined) throw invalid('without a key');
  const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk);
  return {
    thumbprint,
    async assertFirstUse() {
      const id = createHash('sha256')
        .update(JSON.stringify([thumbprint, jti]))
        .digest('base64url');
      if (!(await settings.replayStore.useOnce(id, new Date(expiresAt * 1000)))) throw invalid('used before');
    },
  };
}

/** RFC 9449 §4.3: without query and fragment, normalised by URL (RFC 3986 §6.2.2, §6.2.3). */
function isSameUrl(htu: string, url: URL): boolean {
  const proven = URL.parse(htu);
  return proven !== null && proven.origin === url.origin && proven.pathname === url.pathname && proven.username === '';
}

function invalid(reason: string): Fault {
  return new Fault('invalid_dpop_proof', reason);
}
