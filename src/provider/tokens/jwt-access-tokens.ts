// Lets the engine's own introspection and revocation endpoints handle JWT access tokens, which it refuses otherwise.
//
//  1. A middleware in front of the engine writes a prefix before a JWT in the `token` parameter, so that the engine takes it
//     for an opaque token. A prefix that the caller wrote is replaced.
//  2. The engine authenticates the caller, then asks the adapter for that token. Only then is the JWT verified here and returned
//     in the shape of a stored opaque token, so that one code path serves both kinds.
//
// If a version of the engine changes any of this, JWTs are not found: it fails closed.

import { hash } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, type JWK, type JWTPayload, jwtVerify } from 'jose';
import type { Middleware } from 'koa';
import { LRUCache } from 'lru-cache';
import type { AdapterPayload } from 'oidc-provider';
import { boundClientId } from '../../client-binding.ts';
import type { Query } from '../../database/database.ts';
import { currentContext, JWT_PREFIX, provideBody } from '../engine-internals.ts';
import { answerTooLarge, isForm, readFormBody } from '../http/form-body.ts';
import type { ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId } from '../storage/artifacts.ts';
import type { Origin } from './delegation.ts';

const PREFIXED_ROUTES = new Set(['introspection', 'revocation']);
/** The clock of another node may be behind by this much. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** Signatures that were right, some 2 KB each; APIs ask for the same token again and again. */
const MAX_VERIFIED = 5_000;

const REVOKE = {
  name: 'jwt_revoke',
  text: 'INSERT INTO revoked_tokens (jti_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
};

/** The claims that the engine has members of its own for; the others travel as `extra`. */
const STANDARD_CLAIMS = new Set(['iss', 'sub', 'exp', 'iat', 'jti', 'client_id', 'cnf']);

/** A verified access token of ours that has not been revoked by itself. */
interface VerifiedJwt extends JWTPayload {
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly sub: string;
  readonly client_id: string;
  readonly azp: string;
  /** the grant of a user; client_credentials tokens have none */
  readonly gid?: string;
  /** of a token that was exchanged: where the chain began */
  readonly lanyard_origin?: Origin;
  readonly scope?: string;
  /** RFC 7800: the key that a sender must prove */
  readonly cnf?: { readonly jkt?: string; readonly 'x5t#S256'?: string };
  readonly authorization_details?: readonly object[];
}

export interface AcceptedJwt extends VerifiedJwt {
  /** of the user whose grant it belongs to */
  readonly accountId: string | undefined;
}

export interface JwtAccessTokens {
  readonly middleware: Middleware;
  isPrefixedJwt(id: string): boolean;
  /** For the adapter: a prefixed JWT in the shape of a stored token, if it is valid. */
  find(model: string, id: string): Promise<AdapterPayload | undefined>;
  /** For the adapter: revokes the JWT that this request has found, if `jti` is its id. */
  destroy(jti: string): Promise<void>;
  /** Verifies signature, issuer, type, expiry and single revocation, for callers outside the engine. */
  verify(jwt: string): Promise<AcceptedJwt | undefined>;
  /** The claims in the shape of a stored opaque token. */
  toStored(claims: AcceptedJwt): AdapterPayload;
}

export interface JwtAccessTokensDeps {
  readonly query: Query;
  readonly artifactStore: Pick<ArtifactStore, 'findJwtStatus'>;
  readonly issuer: string;
  readonly publicJwks: readonly JWK[];
  readonly paths: ReadonlySet<string>;
}

export function createJwtAccessTokens(deps: JwtAccessTokensDeps): JwtAccessTokens {
  const readClaims = createClaimsReader(deps.issuer, deps.publicJwks);
  const verify = (jwt: string) => findAccepted(deps.artifactStore, readClaims, jwt);
  /** By request: the engine asks three models for the same token. */
  const loads = new WeakMap<object, Map<string, ReturnType<typeof verify>>>();

  async function loadOnce(jwt: string): ReturnType<typeof verify> {
    const request = currentContext();
    if (request === undefined || !PREFIXED_ROUTES.has(request.oidc.route)) return undefined;
    const ofRequest = loads.get(request) ?? new Map<string, ReturnType<typeof verify>>();
    loads.set(request, ofRequest);
    const load = ofRequest.get(jwt) ?? verify(jwt);
    ofRequest.set(jwt, load);
    return load;
  }

  return {
    middleware: prefixMiddleware(deps.paths),
    isPrefixedJwt: (id) => id.startsWith(JWT_PREFIX),
    verify,

    toStored,

    async find(model, id) {
      const claims = await loadOnce(id.slice(JWT_PREFIX.length));
      const stored = claims && toStored(claims);
      return stored?.kind === model ? stored : undefined;
    },

    async destroy(jti) {
      const request = currentContext();
      for (const load of (request && loads.get(request)?.values()) ?? []) {
        const claims = await load;
        if (claims?.jti !== jti) continue;
        await deps.query(REVOKE, [hashOfJti(jti), new Date(claims.exp * 1000)]);
      }
    },
  };
}

type ClaimsReader = (jwt: string) => Promise<VerifiedJwt | undefined>;

/** Signature, issuer, type, expiry and binding; nothing of it needs the database. */
function createClaimsReader(issuer: string, publicJwks: readonly JWK[]): ClaimsReader {
  const keySet = createLocalJWKSet({ keys: [...publicJwks] });
  /** By the hash of the token. The keys stay the same, so a signature that was valid stays valid. */
  const verified = new LRUCache<string, VerifiedJwt>({ max: MAX_VERIFIED });

  return async (jwt) => {
    const key = hash('sha256', jwt, 'base64url');
    const remembered = verified.get(key);
    if (remembered !== undefined) return hasExpired(remembered) ? undefined : remembered;
    try {
      const { payload } = await jwtVerify(jwt, keySet, {
        issuer,
        typ: 'at+jwt', // RFC 9068 §4: an ID token is not an access token
        algorithms: ['ES256'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['jti', 'iat', 'exp', 'sub', 'aud'],
      });
      const claims = payload as VerifiedJwt;
      boundClientId(claims);
      verified.set(key, claims);
      return claims;
    } catch {
      return undefined;
    }
  };
}

/** Whether the token has been revoked, alone or with its grant. */
async function findAccepted(
  artifactStore: JwtAccessTokensDeps['artifactStore'],
  readClaims: ClaimsReader,
  jwt: string,
): Promise<AcceptedJwt | undefined> {
  const claims = await readClaims(jwt);
  if (claims === undefined) return undefined;
  const grant = claims.gid ?? claims.lanyard_origin?.grant_id;
  const grantId = grant === undefined ? undefined : artifactId('Grant', grant);
  const { isRevoked, accountId } = await artifactStore.findJwtStatus(hashOfJti(claims.jti), grantId);
  if (isRevoked || (grantId !== undefined && accountId === undefined)) return undefined;
  return { ...claims, accountId };
}

/** RFC 7519 §4.1.4 */
function hasExpired({ exp }: VerifiedJwt): boolean {
  return exp <= Date.now() / 1000 - CLOCK_TOLERANCE_SECONDS;
}

function hashOfJti(jti: string): Buffer {
  return hash('sha256', jti, 'buffer');
}

/** The claims in the shape of a stored opaque token: a copy, because verified claims are remembered and the engine owns its models. */
function toStored(claims: AcceptedJwt): AdapterPayload {
  const { accountId, gid, scope, aud, authorization_details: details, ...others } = claims;
  const isOfUser = accountId !== undefined;
  const extra = Object.entries(others).filter(([name]) => !STANDARD_CLAIMS.has(name));
  return {
    kind: isOfUser ? 'AccessToken' : 'ClientCredentials',
    jti: claims.jti,
    iat: claims.iat,
    exp: claims.exp,
    clientId: claims.client_id,
    ...(aud === undefined ? {} : { aud: copyOf(aud) }),
    ...(scope === undefined ? {} : { scope }),
    ...claims.cnf,
    ...(details === undefined ? {} : { rar: copyOf(details) }),
    ...(isOfUser ? { accountId } : {}),
    ...(gid === undefined ? {} : { grantId: gid }),
    extra: Object.fromEntries(extra.map(([name, value]) => [name, copyOf(value)])),
  } as AdapterPayload;
}

function copyOf<T>(value: T): T {
  return typeof value === 'object' ? structuredClone(value) : value;
}

function prefixMiddleware(paths: ReadonlySet<string>): Middleware {
  return async (ctx, next) => {
    if (paths.has(ctx.path) && isForm(ctx.req)) {
      const body = await readFormBody(ctx.req);
      if (body === undefined) return answerTooLarge(ctx);
      // A doubled parameter stays doubled: the engine refuses that.
      const prefixed = [...new URLSearchParams(body)].map(([name, value]): [string, string] => {
        return [name, name === 'token' ? withPrefix(value) : value];
      });
      provideBody(ctx.req, new URLSearchParams(prefixed).toString());
    }
    await next();
  };
}

/** Only this function writes the prefix: with one of its own, a caller could have an opaque token taken for a JWT. */
function withPrefix(token: string): string {
  if (token.startsWith(JWT_PREFIX)) return 'invalid';
  return isJwt(token) ? JWT_PREFIX + token : token;
}

function isJwt(token: string): boolean {
  if (token.split('.').length < 3) return false;
  try {
    return typeof decodeProtectedHeader(token) === 'object';
  } catch {
    return false;
  }
}
