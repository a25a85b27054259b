// Lets the engine's own introspection and revocation endpoints handle JWT access tokens, which it refuses otherwise.
//
//  1. A middleware in front of the engine writes a prefix before a JWT in the `token` parameter, so that the engine takes it
//     for an opaque token. A prefix that the caller wrote is made harmless.
//  2. The engine authenticates the caller, then asks the storage adapter for that token. Only then is the JWT verified here
//     and handed over in the shape of a stored opaque token, so that one code path serves both kinds.
//
// If a version of the engine changes any of this, JWTs are not found: it fails closed. (oidc-provider.md §A, option a)

import { hash } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, type JWK, type JWTPayload, jwtVerify } from 'jose';
import type { Middleware } from 'koa';
import { LRUCache } from 'lru-cache';
import Provider, { type AdapterPayload } from 'oidc-provider';
import { boundClientId } from '../../client-binding.ts';
import type { Query } from '../../database/database.ts';
import { answerTooLarge, handOver, isForm, readFormBody } from '../http/form-body.ts';
import type { ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId } from '../storage/artifacts.ts';
import type { Origin } from './delegation.ts';

const PREFIX = 'jwt:';
const BRIDGED_ROUTES = new Set(['introspection', 'revocation']);
/** The clock of another node may be behind by this much. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** Signatures that were right, some 2 KB each; APIs ask for the same token again and again. */
const MAX_VERIFIED = 5_000;

const REVOKE = {
  name: 'jwt_revoke',
  text: 'INSERT INTO revoked_tokens (jti_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
};

/** The claims that the engine has members of its own for; the others travel as `extra`. */
const STANDARD_CLAIMS = new Set([
  ...['iss', 'aud', 'sub', 'exp', 'iat', 'jti', 'client_id', 'scope', 'gid', 'cnf', 'authorization_details'],
]);

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
  /** RFC 7800: the key that whoever presents it must have */
  readonly cnf?: { readonly jkt?: string; readonly 'x5t#S256'?: string };
  readonly authorization_details?: readonly object[];
}

export interface AcceptedJwt extends VerifiedJwt {
  /** of the user whose grant stands behind it */
  readonly accountId: string | undefined;
}

export interface JwtAccessTokens {
  readonly middleware: Middleware;
  isPrefixedJwt(id: string): boolean;
  /** For the adapter: the stored-token shape of a bridged JWT, if it is one that stands. */
  find(model: string, id: string): Promise<AdapterPayload | undefined>;
  /** For the adapter: denies the JWT that this request has found, if `jti` is its id. */
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
  const { query, artifactStore, issuer } = deps;
  const keySet = createLocalJWKSet({ keys: [...deps.publicJwks] });
  type Loaded = Awaited<ReturnType<JwtAccessTokens['verify']>>;
  /** By request: the engine asks three models for the same token. */
  const loads = new WeakMap<object, Map<string, Promise<Loaded>>>();

  /** By the hash of the token. The keys of this bridge stay the same, so a signature that was right stays right. */
  const verified = new LRUCache<string, VerifiedJwt>({ max: MAX_VERIFIED });

  async function readClaims(jwt: string): Promise<VerifiedJwt | undefined> {
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
  }

  async function verify(jwt: string): Promise<Loaded> {
    const claims = await readClaims(jwt);
    if (claims === undefined) return undefined;
    const grant = claims.gid ?? claims.lanyard_origin?.grant_id;
    const grantId = grant === undefined ? undefined : artifactId('Grant', grant);
    const { isRevoked, accountId } = await artifactStore.findJwtStatus(hashOfJti(claims.jti), grantId);
    if (isRevoked || (grantId !== undefined && accountId === undefined)) return undefined;
    return { ...claims, accountId };
  }

  function loadOnce(jwt: string): Promise<Loaded> {
    const request = Provider.ctx;
    if (request === undefined || !BRIDGED_ROUTES.has(request.oidc.route)) return Promise.resolve(undefined);
    const ofRequest = loads.get(request) ?? new Map<string, Promise<Loaded>>();
    loads.set(request, ofRequest);
    const load = ofRequest.get(jwt) ?? verify(jwt);
    ofRequest.set(jwt, load);
    return load;
  }

  return {
    middleware: prefixMiddleware(deps.paths),
    isPrefixedJwt: (id) => id.startsWith(PREFIX),
    verify,

    toStored,

    async find(model, id) {
      const claims = await loadOnce(id.slice(PREFIX.length));
      const stored = claims && toStored(claims);
      return stored?.kind === model ? stored : undefined;
    },

    async destroy(jti) {
      const request = Provider.ctx;
      for (const load of (request && loads.get(request)?.values()) ?? []) {
        const claims = await load;
        if (claims?.jti !== jti) continue;
        await query(REVOKE, [hashOfJti(jti), new Date(claims.exp * 1000)]);
      }
    },
  };
}

/** RFC 7519 §4.1.4 */
function hasExpired({ exp }: VerifiedJwt): boolean {
  return exp <= Date.now() / 1000 - CLOCK_TOLERANCE_SECONDS;
}

function hashOfJti(jti: string): Buffer {
  return hash('sha256', jti, 'buffer');
}

/** The claims in the shape of a stored opaque token. */
function toStored(claims: AcceptedJwt): AdapterPayload {
  const isOfUser = claims.accountId !== undefined;
  return {
    kind: isOfUser ? 'AccessToken' : 'ClientCredentials',
    jti: claims.jti,
    iat: claims.iat,
    exp: claims.exp,
    clientId: claims.client_id,
    ...(claims.aud === undefined ? {} : { aud: claims.aud }),
    ...(claims.scope === undefined ? {} : { scope: claims.scope }),
    ...claims.cnf,
    ...(claims.authorization_details === undefined ? {} : { rar: claims.authorization_details }),
    ...(isOfUser ? { accountId: claims.accountId } : {}),
    ...(claims.gid === undefined ? {} : { grantId: claims.gid }),
    extra: Object.fromEntries(
      Object.entries(claims).filter(([name]) => !STANDARD_CLAIMS.has(name) && name !== 'accountId'),
    ),
  } as AdapterPayload;
}

function prefixMiddleware(paths: ReadonlySet<string>): Middleware {
  return async (ctx, next) => {
    if (paths.has(ctx.path) && isForm(ctx.req)) {
      const body = await readFormBody(ctx.req);
      if (body === undefined) return answerTooLarge(ctx);
      // A doubled parameter stays doubled: the engine refuses that.
      const marked = [...new URLSearchParams(body)].map(([name, value]): [string, string] => {
        return [name, name === 'token' ? mark(value) : value];
      });
      handOver(ctx.req, new URLSearchParams(marked).toString());
    }
    await next();
  };
}

/** Only this function writes the prefix; one that the caller wrote leads nowhere. */
function mark(token: string): string {
  if (token.startsWith(PREFIX)) return 'invalid';
  return isJwt(token) ? PREFIX + token : token;
}

function isJwt(token: string): boolean {
  if (token.split('.').length < 3) return false;
  try {
    return typeof decodeProtectedHeader(token) === 'object';
  } catch {
    return false;
  }
}
