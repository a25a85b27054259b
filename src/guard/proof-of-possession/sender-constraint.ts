// Is this token with the one it was issued to? A token that is bound to a key (`cnf`, RFC 7800) counts only together with the proof
// that the caller has the key: a DPoP proof (RFC 9449 §7) or the certificate of the connection (RFC 8705 §3). As a plain bearer
// token it would be as good as before for whoever stole it.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Credentials, PresentedRequest } from '../credentials.ts';
import type { Claims } from '../principal.ts';
import { Fault } from '../refusal.ts';
import { type ProofSettings, type ProvenKey, verifyProof } from './dpop-proof.ts';

export interface ConstraintSettings {
  readonly proofs: ProofSettings;
  /** refuse tokens that are not bound to a key */
  readonly isRequired: boolean;
  /** where clients call this API: `target` belongs behind it */
  readonly publicUrl: URL | undefined;
}

interface Confirmation {
  readonly jkt?: string;
  readonly 'x5t#S256'?: string;
}

/**
 * @returns the key that was proven, whose proof must not be used again; undefined for a token that needs none
 * @throws Fault `invalid_token` or `invalid_dpop_proof`
 */
export async function assertPossession(
  claims: Claims,
  credentials: Credentials,
  request: PresentedRequest,
  settings: ConstraintSettings,
): Promise<ProvenKey | undefined> {
  const confirmation = parseConfirmation(claims.cnf);
  if (confirmation === undefined) {
    if (settings.isRequired) throw invalid('not bound to a key');
    if (credentials.scheme === 'DPoP') throw invalid('not bound to a key, and presented as if it were');
    return undefined;
  }
  const { jkt, 'x5t#S256': certificateHash } = confirmation;
  if (certificateHash !== undefined) assertCertificate(certificateHash, request.clientCertificate);
  if (jkt === undefined) {
    if (credentials.scheme === 'DPoP') throw invalid('bound to a certificate, and presented as if to a DPoP key');
    return undefined;
  }
  // RFC 9449 §7.2: a DPoP-bound token must not be accepted under the Bearer scheme.
  if (credentials.scheme !== 'DPoP') {
    throw new Fault('invalid_token', 'bound to a DPoP key, and presented as Bearer', { scheme: 'DPoP' });
  }
  const proven = await verifyProof(
    request.dpop,
    { method: request.method, url: addressOf(request, settings), token: credentials.token },
    settings.proofs,
  );
  if (!isSame(jkt, proven.thumbprint)) throw invalid('bound to another key');
  return proven;
}

/** A way of binding that this guard does not know cannot be checked, so it is refused. */
function parseConfirmation(cnf: unknown): Confirmation | undefined {
  if (cnf === undefined) return undefined;
  const members = typeof cnf === 'object' && cnf !== null ? Object.entries(cnf) : [];
  const isKnown = members.every(
    ([name, value]) => ['jkt', 'x5t#S256'].includes(name) && typeof value === 'string' && value !== '',
  );
  if (members.length === 0 || !isKnown) throw invalid('bound to a key in a way that this guard cannot check');
  return cnf as Confirmation;
}

/** RFC 8705 §3.1 */
function assertCertificate(expected: string, certificate: Uint8Array | undefined): void {
  if (certificate === undefined) throw invalid('bound to a certificate, and presented without');
  const actual = createHash('sha256').update(certificate).digest('base64url');
  if (!isSame(expected, actual)) throw invalid('bound to another certificate');
}

function addressOf({ target }: PresentedRequest, { publicUrl }: ConstraintSettings): URL | undefined {
  if (publicUrl === undefined || target === undefined) return undefined;
  // RFC 9112 §3.2.2: a request may name its target as an absolute URL, whose origin is the caller's to choose.
  const path = target.startsWith('/') ? target : (URL.parse(target)?.pathname ?? '/');
  const base = publicUrl.href.replace(/\/$/, '');
  return URL.parse(`${base}${path}`) ?? undefined;
}

function isSame(expected: string, actual: string): boolean {
  const [one, other] = [expected, actual].map((text) => createHash('sha256').update(text).digest());
  return timingSafeEqual(one as Buffer, other as Buffer);
}

function invalid(reason: string): Fault {
  return new Fault('invalid_token', reason);
}
