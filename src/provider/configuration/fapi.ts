// What a security profile demands of each request of a client. What it demands of the metadata is
// in clients/security-profile. The engine has a FAPI 2.0 profile too: it demands the issuer as
// audience, `redirect_uri` at every request, PKCE, and request objects with `exp` and `nbf` at most
// 60 minutes apart.

import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { FAPI_ALGORITHMS } from '../../clients/security-profile.ts';

/** FAPI 2.0 Security Profile §5.3.2.1: authorization codes live for 60 seconds at most. */
const CODE_SECONDS = 60;

/**
 * FAPI 2.0 Security Profile §5.3.2.1: JWTs of clients are accepted with an `iat` or `nbf` up to 10
 * seconds ahead of our clock, and rejected when it is more than 60 seconds ahead.
 */
export const CLOCK_TOLERANCE_SECONDS = 10;
const MAX_SECONDS_AHEAD = 60;

/**
 * The only `typ` of a request object, when it has one (RFC 9101 §10.8): nothing that was signed for
 * another purpose is accepted.
 */
const REQUEST_OBJECT_TYPES = ['oauth-authz-req+jwt', 'jwt'];

const MAX_REQUEST_OBJECT_SECONDS = 60 * 60;

/** That it was used is remembered until it expires. */
const MAX_ASSERTION_SECONDS = 60 * 60;

export function hasSecurityProfile(client: Client | undefined): boolean {
  return (client as { security_profile?: string } | undefined)?.security_profile !== undefined;
}

/** Configuration `features.fapi.profile`. */
export function fapiProfile(_ctx: KoaContextWithOIDC, client: Client | undefined): '2.0' | undefined {
  return hasSecurityProfile(client) ? '2.0' : undefined;
}

export function codeSeconds(configuredSeconds: number, client: Client): number {
  return hasSecurityProfile(client) ? Math.min(CODE_SECONDS, configuredSeconds) : configuredSeconds;
}

/** Whatever its audience is, which assertion-audience checks. @throws InvalidClientAuth */
export function assertClientAssertion(
  claims: Record<string, unknown>,
  header: Record<string, unknown>,
  client: Client,
): void {
  // RFC 7523 §3, item 4: "The authorization server MAY reject JWTs with an "exp" claim value that is
  // unreasonably far in the future."
  if (Number(claims.exp) > Date.now() / 1000 + MAX_ASSERTION_SECONDS + CLOCK_TOLERANCE_SECONDS) {
    throw new errors.InvalidClientAuth('exp must be at most an hour ahead');
  }
  if (!hasSecurityProfile(client)) return;
  if (!FAPI_ALGORITHMS.includes(String(header.alg))) {
    throw new errors.InvalidClientAuth(`the assertion must be signed with one of ${FAPI_ALGORITHMS.join(', ')}`);
  }
  // The engine checks `iat` only where there is no `exp`.
  if (isFromFuture(claims.iat)) throw new errors.InvalidClientAuth('the assertion is from the future (iat)');
}

/**
 * Configuration `features.requestObjects.assertJwtClaimsAndHeader`.
 * @throws InvalidRequestObject
 */
export async function assertRequestObject(
  ctx: KoaContextWithOIDC,
  claims: Record<string, unknown>,
  header: Record<string, unknown>,
  client: Client,
): Promise<void> {
  // The engine itself makes a request object of parameters that were pushed in plain; they were
  // checked then.
  if (ctx.oidc.entities.PushedAuthorizationRequest !== undefined) return;
  const type = typeof header.typ === 'string' ? header.typ.toLowerCase().replace(/^application\//, '') : undefined;
  if (type !== undefined && !REQUEST_OBJECT_TYPES.includes(type)) {
    throw new errors.InvalidRequestObject('the JWT is not a request object (typ)');
  }
  if (!hasSecurityProfile(client)) return;
  if (!FAPI_ALGORITHMS.includes(String(header.alg))) {
    throw new errors.InvalidRequestObject(
      `the request object must be signed with one of ${FAPI_ALGORITHMS.join(', ')}`,
    );
  }
  if (isFromFuture(claims.iat)) throw new errors.InvalidRequestObject('the request object is from the future (iat)');
  // FAPI 2.0 Message Signing §5.3.1
  const { exp, nbf } = claims;
  if (typeof exp !== 'number' || typeof nbf !== 'number') {
    throw new errors.InvalidRequestObject('the request object must have exp and nbf');
  }
  if (exp <= nbf || exp - nbf > MAX_REQUEST_OBJECT_SECONDS) {
    throw new errors.InvalidRequestObject('exp must be at most 60 minutes after nbf');
  }
  if (nbf < Date.now() / 1000 - MAX_REQUEST_OBJECT_SECONDS) {
    throw new errors.InvalidRequestObject('nbf must not be longer than 60 minutes ago');
  }
}

function isFromFuture(issuedAt: unknown): boolean {
  return typeof issuedAt === 'number' && issuedAt > Date.now() / 1000 + MAX_SECONDS_AHEAD;
}
