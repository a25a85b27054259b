// Who is calling: the claims of a verified token in typed form. What every token must have, whichever way it was verified,
// is asked here, so that no mode can leave it out.

import { assertBoundTo, boundClientId } from '../client-binding.ts';
import { Fault } from './refusal.ts';

/** Claims of a JWT, or members of an introspection answer. */
export type Claims = Readonly<Record<string, unknown>>;

/** Resolves to the claims of a token that stands; throws a Fault if it does not, anything else if nobody can tell (503). */
export type Verifier = (token: string) => Promise<Claims>;

/** The caller of a request that the guard has let through. */
export interface Principal {
  /** the client that the token was issued to, and that is on the allow-list */
  readonly clientId: string;
  /** `sub`: the user, or the client itself when no user stands behind the token (RFC 9068 §2.2) */
  readonly subject: string;
  readonly scopes: readonly string[];
  /** `aud` of the token; at least one of them is an audience of the guard */
  readonly audience: readonly string[];
  readonly expiresAt: Date;
  /** `jti` */
  readonly tokenId?: string;
  /** only if the issuer reports it */
  readonly username?: string;
  /** everything the token or the introspection answer says */
  readonly claims: Claims;
}

export interface Expectations {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly clockToleranceSeconds: number;
  /** the caller must be on each of these lists */
  readonly allowLists: readonly (readonly string[])[];
  readonly scopes: readonly string[];
}

/**
 * @throws Fault `invalid_token` or `insufficient_scope`; BindingError and ClientNotAllowedError of client-binding. The client
 * is asked before the scopes: a foreign client need not learn which scopes would help.
 */
export function parsePrincipal(claims: Claims, expected: Expectations): Principal {
  const audience = parseAudience(claims.aud);
  if (!audience.some((identifier) => expected.audiences.includes(identifier))) throw invalid('wrong audience');
  // Not every introspection endpoint reports the issuer (RFC 7662 §2.2); for a JWT, jose has asked that it is there.
  if (claims.iss !== undefined && claims.iss !== expected.issuer) throw invalid('wrong issuer');
  const expiresAt = parseValidity(claims, expected.clockToleranceSeconds);
  if (typeof claims.sub !== 'string' || claims.sub === '') throw invalid('no subject');

  const clientId = boundClientId(claims);
  for (const allowedClientIds of expected.allowLists) assertBoundTo(claims, allowedClientIds);
  const scopes = typeof claims.scope === 'string' ? claims.scope.split(' ').filter((scope) => scope !== '') : [];
  const missing = expected.scopes.filter((scope) => !scopes.includes(scope));
  if (missing.length > 0) throw new Fault('insufficient_scope', `lacks ${missing.join(' ')}`);

  return {
    clientId,
    subject: claims.sub,
    scopes,
    audience,
    expiresAt,
    ...(typeof claims.jti === 'string' ? { tokenId: claims.jti } : {}),
    ...(typeof claims.username === 'string' ? { username: claims.username } : {}),
    claims,
  };
}

/** RFC 7519 §4.1.3: a string or an array of strings. Missing is nobody's: it matches no API. */
function parseAudience(aud: unknown): readonly string[] {
  const audience: unknown[] = Array.isArray(aud) ? aud : [aud];
  return audience.filter((identifier) => typeof identifier === 'string');
}

/** RFC 7519 §4.1.4, §4.1.5. A token that never ends is refused. */
function parseValidity(claims: Claims, toleranceSeconds: number): Date {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const { exp, nbf } = claims;
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw invalid('no expiry');
  if (exp <= nowSeconds - toleranceSeconds) throw invalid('expired');
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= nowSeconds + toleranceSeconds)) {
    throw invalid('not valid yet');
  }
  return new Date(exp * 1000);
}

function invalid(reason: string): Fault {
  return new Fault('invalid_token', reason);
}
