// Sender-constrained tokens: a token that is bound to a key (`cnf`, RFC 7800) is accepted only with
// a proof of possession of that key, which is a DPoP proof (RFC 9449 §7) or the certificate of the
// connection (RFC 8705 §3). Accepted as a plain bearer token, a stolen one would be as good as
// before. dpop-proof and certificate-header read the proofs, replay-store stores the used ones.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Credentials, PresentedRequest } from '../credentials.ts';
import type { Claims } from '../principal.ts';
import { Fault } from '../refusal.ts';
import { type ProofSettings, type ProvenKey, verifyProof } from './dpop-proof.ts';

export interface ConstraintSettings {
  readonly proofs: ProofSettings;
  /** refuse tokens that are not bound to a key */
  readonly isRequired: boolean;
  /** base URL of this API; the target of a request is appended */
  readonly publicUrl: URL | undefined;
}

interface Confirmation {
  /** RFC 9449 §6.1 */
  readonly jkt: string | undefined;
  /** `x5t#S256`, RFC 8705 §3.1 */
  readonly certificateHash: string | undefined;
}

/**
 * @returns the proven key, whose proof must be checked for reuse; undefined for an unbound token
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
    if (credentials.scheme === 'DPoP') throw invalid('not bound to a key, but presented with the DPoP scheme');
    return undefined;
  }
  const { jkt, certificateHash } = confirmation;
  if (certificateHash !== undefined) assertCertificate(certificateHash, request.clientCertificate);
  if (jkt === undefined) {
    if (credentials.scheme === 'DPoP') throw invalid('bound to a certificate, but presented with the DPoP scheme');
    return undefined;
  }
  // RFC 9449 §7.2: a DPoP-bound token must not be accepted under the Bearer scheme.
  if (credentials.scheme !== 'DPoP') {
    throw new Fault('invalid_token', 'bound to a DPoP key, but presented as Bearer', { scheme: 'DPoP' });
  }
  const proven = await verifyProof(
    request.dpop,
    { method: request.method, url: urlOf(request, settings), token: credentials.token },
    settings.proofs,
  );
  if (!isSame(jkt, proven.thumbprint)) throw invalid('bound to another key');
  return proven;
}

/** A confirmation method that this guard does not know cannot be checked, so it is refused. */
function parseConfirmation(cnf: unknown): Confirmation | undefined {
  if (cnf === undefined) return undefined;
  const members = new Map<string, string>();
  for (const [name, value] of typeof cnf === 'object' && cnf !== null ? Object.entries(cnf) : []) {
    const isKnown = ['jkt', 'x5t#S256'].includes(name) && typeof value === 'string' && value !== '';
    if (!isKnown) throw invalid('bound to a key in a way that this guard cannot check');
    members.set(name, value);
  }
  if (members.size === 0) throw invalid('bound to a key in a way that this guard cannot check');
  return { jkt: members.get('jkt'), certificateHash: members.get('x5t#S256') };
}

/** RFC 8705 §3.1 */
function assertCertificate(expected: string, certificate: Uint8Array | undefined): void {
  if (certificate === undefined) throw invalid('bound to a certificate, but presented without one');
  const actual = createHash('sha256').update(certificate).digest('base64url');
  if (!isSame(expected, actual)) throw invalid('bound to another certificate');
}

function urlOf({ target }: PresentedRequest, { publicUrl }: ConstraintSettings): URL | undefined {
  if (publicUrl === undefined || target === undefined) return undefined;
  // RFC 9112 §3.2.2: in absolute form the caller chooses the origin, so only the path is used.
  const path = target.startsWith('/') ? target : (URL.parse(target)?.pathname ?? '/');
  const base = publicUrl.href.replace(/\/$/, '');
  return URL.parse(`${base}${path}`) ?? undefined;
}

function isSame(expected: string, actual: string): boolean {
  return timingSafeEqual(digest(expected), digest(actual));
}

/** Of equal length, as `timingSafeEqual` requires. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function invalid(reason: string): Fault {
  return new Fault('invalid_token', reason);
}
