// JWT access tokens (RFC 9068) at introspection and revocation. They have no row: a JWT is
// verified, asked about in the deny list and given the shape of a stored opaque token, so that one
// code path serves both kinds.

import { hash } from 'node:crypto';
import { createLocalJWKSet, type JWK, type JWTPayload, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import type { AccessToken, AdapterPayload } from 'oidc-provider';
import { boundClientId } from '../../client-binding.ts';
import type { Query } from '../../database/database.ts';
import { ACCESS_TOKEN_TYPES, assertAccessToken } from '../../guard/access-token-type.ts';
import { ACCESS_TOKEN_ALGORITHMS } from '../../resource-servers/access-token-signing.ts';
import type { ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId, sha256 } from '../storage/artifacts.ts';
import type { Origin } from './delegation.ts';

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
  /**
   * Verifies signature, issuer, type, expiry and single revocation, for callers outside the engine.
   */
  verify(jwt: string): Promise<AcceptedJwt | undefined>;
  /** The claims in the shape of a stored opaque token. */
  toStored(claims: AcceptedJwt): AdapterPayload;
}

export interface JwtAccessTokensDeps {
  readonly artifactStore: Pick<ArtifactStore, 'findJwtStatus'>;
  readonly issuer: string;
  readonly publicJwks: readonly JWK[];
}

export function createJwtAccessTokens(deps: JwtAccessTokensDeps): JwtAccessTokens {
  const readClaims = createClaimsReader(deps.issuer, deps.publicJwks);
  const verify = (jwt: string) => findAccepted(deps.artifactStore, readClaims, jwt);
  return { verify, toStored };
}

/** From now on it is inactive, although its signature stays valid. @returns whether this revoked it */
export async function revokeJwt(query: Query, { jti, exp }: Pick<AccessToken, 'jti' | 'exp'>): Promise<boolean> {
  return (await query(REVOKE, [hashOfJti(jti), new Date(Number(exp) * 1000)])).rowCount === 1;
}

type ClaimsReader = (jwt: string) => Promise<VerifiedJwt | undefined>;

/** Signature, issuer, type, expiry and binding; nothing of it needs the database. */
function createClaimsReader(issuer: string, publicJwks: readonly JWK[]): ClaimsReader {
  const keySet = createLocalJWKSet({ keys: [...publicJwks] });
  /**
   * By the hash of the token. The keys stay the same, so a signature that was valid stays valid.
   */
  const verified = new LRUCache<string, VerifiedJwt>({ max: MAX_VERIFIED });

  return async (jwt) => {
    const key = hash('sha256', jwt, 'base64url');
    const remembered = verified.get(key);
    if (remembered !== undefined) return hasExpired(remembered) ? undefined : remembered;
    try {
      const { payload, protectedHeader } = await jwtVerify(jwt, keySet, {
        issuer,
        algorithms: [...ACCESS_TOKEN_ALGORITHMS],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['jti', 'iat', 'exp', 'sub', 'aud'],
      });
      // Both types, of whichever API: it may have changed since the token was issued.
      assertAccessToken(protectedHeader.typ, payload, ACCESS_TOKEN_TYPES);
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
  return sha256(jti);
}

/**
 * The claims in the shape of a stored opaque token: a copy, because verified claims are remembered
 * and the engine owns its models.
 */
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
