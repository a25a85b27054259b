// A code exchanged (RFC 6749 §4.1.3, RFC 7636 §4.6), and a refresh (RFC 6749 §6) with rotation for public clients.

import { hash, timingSafeEqual, type X509Certificate } from 'node:crypto';
import { type AuthorizationCode, type Client, errors, type RefreshToken } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import type { Database } from '../../database/database.ts';
import { certificateThumbprint } from '../clients/certificate-thumbprint.ts';
import { refreshedScopes } from '../policy/ungranted-scopes.ts';
import { artifactId } from '../storage/artifacts.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { isWithinGrace, justRotated, mayReuse, reusable } from '../tokens/refresh-grace.ts';
import type { RevokeReplayed } from '../tokens/replayed.ts';
import type { FindTokenWithGrant, TokenWithGrant } from '../tokens/token-with-grant.ts';
import type { Grant, GrantParameters, TokenResponse } from './grant.ts';
import { assertProven, type Proof } from './proof.ts';
import {
  findSourceUser,
  issueAccessToken,
  issueIdToken,
  issueRefreshToken,
  issueUserTokens,
  type Origin,
  type UserTokensDeps,
} from './user-tokens.ts';

export interface CodeAndRefreshDeps extends UserTokensDeps {
  readonly database: Pick<Database, 'changes'>;
  readonly findTokenWithGrant: FindTokenWithGrant;
  readonly revokeReplayed: RevokeReplayed;
  readonly unitOfWork: Pick<UnitOfWork, 'requestId' | 'write'>;
}

export function authorizationCode(deps: CodeAndRefreshDeps): Grant {
  return {
    type: 'authorization_code',
    parameters: ['code', 'code_verifier', 'redirect_uri', 'resource', 'audience', 'authorization_details'],
    required: ['code', 'redirect_uri'],
    repeatable: ['resource'],
    issue: (client, parameters, proof) => redeemCode(deps, client, parameters, proof),
  };
}

export function refreshToken(deps: CodeAndRefreshDeps): Grant {
  return {
    type: 'refresh_token',
    parameters: ['refresh_token', 'scope', 'resource', 'audience', 'authorization_details'],
    required: ['refresh_token'],
    repeatable: ['resource'],
    issue: (client, parameters, proof) => refresh(deps, client, parameters, proof),
  };
}

async function redeemCode(
  deps: CodeAndRefreshDeps,
  client: Client,
  parameters: GrantParameters,
  proof: Proof,
): Promise<TokenResponse> {
  const found = await findOwn(deps, client, 'AuthorizationCode', String(parameters.code));
  const { source: code, consumedAt } = found;
  // RFC 6749 §4.1.2: a code that comes a second time revokes what it gave, also when it has expired since.
  if (consumedAt === undefined && code.isExpired) throw new errors.InvalidGrant('authorization code is expired');
  const grant = grantOf(found);
  assertVerified(parameters.code_verifier, code);
  assertProven(client, proof);
  if (code.redirectUri !== parameters.redirect_uri) {
    throw new errors.InvalidGrant('authorization code redirect_uri mismatch');
  }
  if (consumedAt !== undefined) await refuseReplay(deps, 'AuthorizationCode', code.jti);
  await code.consume();
  const user = await findSourceUser(deps.directory, code);
  assertRequestedKey(code, proof);
  return issueUserTokens(deps, { client, parameters, proof, source: code, grant, user }, 'authorization_code');
}

/** RFC 9449 §10: the authorization request has named the key that the code is bound to. */
function assertRequestedKey({ dpopJkt }: AuthorizationCode, { jkt }: Proof): void {
  if (dpopJkt === undefined) return;
  if (jkt === undefined) throw new errors.InvalidGrant('missing DPoP proof JWT');
  if (dpopJkt !== jkt) throw new errors.InvalidGrant('DPoP proof key thumbprint does not match dpop_jkt');
}

async function refresh(
  deps: CodeAndRefreshDeps,
  client: Client,
  parameters: GrantParameters,
  proof: Proof,
): Promise<TokenResponse> {
  const presented = String(parameters.refresh_token);
  const found = await findOwn(deps, client, 'RefreshToken', presented);
  const { source: old, consumedAt } = found;
  const isReusable = mayReuse(client, old);
  if (!isReusable && isWithinGrace(client, consumedAt, deps.database.changes.now())) throw justRotated();
  if (old.isExpired) throw new errors.InvalidGrant('refresh token is expired');
  const certificate = provenCertificate(client, old, proof);
  const grant = grantOf(found);
  const scopes = refreshedScopes(parameters.scope, old);
  if (old.jkt !== undefined && old.jkt !== proof.jkt) throw new errors.InvalidGrant('failed jkt verification');
  const user = await findSourceUser(deps.directory, old);
  if (!isReusable && consumedAt !== undefined) await refuseReplay(deps, 'RefreshToken', presented);

  const origin: Origin = { client, parameters, proof, source: old, grant, user };
  const gty = withRefresh(old.gty);
  const isRotated = rotates(client) || consumedAt !== undefined;
  const refreshed = isRotated ? await rotate(deps, origin, old, gty) : presented;
  const { accessToken, response } = await issueAccessToken(deps, origin, { gty, certificate, scopes });
  const idToken = await issueIdToken(deps, origin, accessToken, scopes);
  return { ...response, refresh_token: refreshed, id_token: idToken };
}

/**
 * RFC 9700 §4.14.2: rotation for public clients. A confidential client must authenticate to refresh, and rotation would only leave
 * it without a token when an answer gets lost.
 */
function rotates(client: Client): boolean {
  return client.clientAuthMethod === 'none';
}

async function rotate(deps: CodeAndRefreshDeps, origin: Origin, old: RefreshToken, gty: string): Promise<string> {
  const { client } = origin;
  const requestId = deps.unitOfWork.requestId();
  const reuse = mayReuse(client, old) ? reusable(client, old.accountId, requestId) : undefined;
  await deps.unitOfWork.write({
    kind: 'consume',
    model: 'RefreshToken',
    id: artifactId('RefreshToken', old.jti),
    reuse,
  });
  const { iiat, rotations = 0, jkt, 'x5t#S256': x5t } = old;
  return issueRefreshToken(deps, origin, { gty, iiat, rotations: rotations + 1, jkt, 'x5t#S256': x5t });
}

/** The grants that led to a token, the latest last. */
function withRefresh(gty = ''): string {
  return gty.endsWith('refresh_token') ? gty : `${gty} refresh_token`.trim();
}

/** @throws InvalidGrant: RFC 6749 §5.2 has one code for all that may be wrong, and the log the reason */
async function findOwn<Model extends 'AuthorizationCode' | 'RefreshToken'>(
  { findTokenWithGrant }: CodeAndRefreshDeps,
  client: Client,
  model: Model,
  value: string,
) {
  const found = await findTokenWithGrant(model, value);
  if (found === undefined) throw new errors.InvalidGrant(`${model} not found`);
  if (!isSameClient(found.source.clientId, client.clientId)) throw new errors.InvalidGrant('client mismatch');
  return found;
}

function grantOf({ grant }: TokenWithGrant<unknown>) {
  if (grant === undefined) throw new errors.InvalidGrant('grant not found, expired, or of another client or user');
  return grant;
}

async function refuseReplay(
  { revokeReplayed, unitOfWork }: CodeAndRefreshDeps,
  model: string,
  value: string,
): Promise<never> {
  await revokeReplayed({ model, artifactId: artifactId(model, value), requestId: unitOfWork.requestId() });
  throw new errors.InvalidGrant(`${model} already used`);
}

/** RFC 7636 §4.1 */
const CODE_VERIFIER = /^[\w.~-]{43,128}$/;

/** RFC 7636 §4.6; RFC 9700 §4.8.2: a verifier without a challenge is refused. @throws InvalidRequest, InvalidGrant */
function assertVerified(
  verifier: GrantParameters[string],
  { codeChallenge, codeChallengeMethod }: AuthorizationCode,
): void {
  if (verifier === undefined && codeChallenge === undefined) return;
  if (verifier !== undefined && (typeof verifier !== 'string' || !CODE_VERIFIER.test(verifier))) {
    throw new errors.InvalidRequest('code_verifier must be 43 to 128 letters, digits or -._~');
  }
  if (verifier === undefined) throw new errors.InvalidGrant('code_verifier must be provided');
  const expected = Buffer.from(codeChallenge ?? '');
  const actual = Buffer.from(hash('sha256', verifier, 'base64url'));
  if (codeChallengeMethod !== 'S256' || expected.length !== actual.length || !timingSafeEqual(expected, actual)) {
    throw new errors.InvalidGrant('code_verifier does not match code_challenge');
  }
}

/** RFC 8705 §4: a refresh token that is bound to a certificate works with that one only. @throws InvalidGrant */
function provenCertificate(client: Client, token: RefreshToken, proof: Proof): X509Certificate | undefined {
  assertProven(client, proof);
  const { 'x5t#S256': bound } = token;
  if (bound === undefined) return client.tlsClientCertificateBoundAccessTokens ? proof.certificate : undefined;
  const { certificate } = proof;
  if (certificate === undefined) throw new errors.InvalidGrant('mutual TLS client certificate not provided');
  if (bound !== certificateThumbprint(certificate)) throw new errors.InvalidGrant('failed x5t#S256 verification');
  return certificate;
}
