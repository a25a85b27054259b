// The caller of a request: the claims of a verified token in typed form. The checks that apply to
// every token are here, so that no mode of verification can leave one out.

import { assertBoundTo, boundClientId } from '../client-binding.ts';
import { Fault } from './refusal.ts';

/** Claims of a JWT, or members of an introspection response. */
export type Claims = Readonly<Record<string, unknown>>;

/** Resolves to the claims of a valid token. @throws Fault for an invalid one; other errors are 503 */
export type Verifier = (token: string) => Promise<Claims>;

/** The caller of a request that passed the guard. */
export interface Principal {
  /** the client that the token was issued to, and that is on the allow-list */
  readonly clientId: string;
  /** `sub`: the user, or the client itself for a token without a user (RFC 9068 §2.2) */
  readonly subject: string;
  readonly scopes: readonly string[];
  /** `aud` of the token; at least one of them is an audience of the guard */
  readonly audience: readonly string[];
  readonly expiresAt: Date;
  /** `jti` */
  readonly tokenId?: string;
  /** only if the issuer reports it */
  readonly username?: string;
  /** all claims of the token, or members of the introspection response */
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
 * The client is checked before the scopes, so that a client that is not allowed does not learn
 * which scopes the API requires.
 * @throws Fault `invalid_token` or `insufficient_scope`
 * @throws BindingError, ClientNotAllowedError (client-binding)
 */
export function parsePrincipal(claims: Claims, expected: Expectations): Principal {
  const audience = parseAudience(claims.aud);
  if (!audience.some((identifier) => expected.audiences.includes(identifier))) throw invalid('wrong audience');
  // `iss` is optional in an introspection response (RFC 7662 §2.2). For a JWT, jose requires it.
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

/** RFC 7519 §4.1.3: a string or an array of strings. Without `aud` a token is for no API. */
function parseAudience(aud: unknown): readonly string[] {
  const audience: unknown[] = Array.isArray(aud) ? aud : [aud];
  return audience.filter((identifier) => typeof identifier === 'string');
}

/** RFC 7519 §4.1.4, §4.1.5. A token without an expiry is refused. */
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
