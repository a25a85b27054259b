// Userinfo (OpenID Connect Core §5.3): the claims of the user whose access token the caller presents. Both transports call it.
// The token may be for an API: it is accepted if it carries openid, for the claims of the OpenID scopes that it carries.

import type { IncomingMessage } from 'node:http';
import { type AccessToken, type Client, errors, type Grant, type KoaContextWithOIDC } from 'oidc-provider';
import type { CachedUser } from '../../users/lookup.ts';
import { standardClaims } from '../../users/user.ts';
import { certificateThumbprint } from '../clients/certificate-thumbprint.ts';
import { type ReadClientCertificate, validCertificate } from '../clients/mutual-tls.ts';
import { checkDpopReplay, createIdToken, validateDpop } from '../engine-internals.ts';
import type { Directory } from '../policy/directory.ts';
import { openIdScopesAt } from '../policy/openid-scopes.ts';
import { scopesOf } from '../policy/requested-scopes.ts';
import { findTokenStatus } from '../policy/token-status.ts';
import { findIssuedToken, type IssuedTokenDeps } from './find-token.ts';
import { grantedClaims } from './granted-claims.ts';
import { modelByPrefix } from './token-prefixes.ts';
import { type FindTokenWithGrant, findItsGrant } from './token-with-grant.ts';

export interface UserinfoDeps extends IssuedTokenDeps {
  readonly directory: Directory;
  readonly findTokenWithGrant: FindTokenWithGrant;
  readonly readClientCertificate: ReadClientCertificate | undefined;
}

export type AnswerUserinfo = (ctx: KoaContextWithOIDC) => Promise<void>;

export function createUserinfo(deps: UserinfoDeps): AnswerUserinfo {
  return async (ctx) => {
    const { token, grant, scopes } = await findPresented(deps, ctx);
    const scope = narrowedScope(ctx.oidc.params?.scope, scopes);
    const client = await deps.provider.Client.find(token.clientId ?? '');
    if (client === undefined) throw new errors.InvalidToken('associated client not found');
    // The engine checks here whether the client may be called from the page's origin.
    ctx.oidc.entity('Client', client);
    const user = await deps.directory.findUser(token.accountId);
    if (user === undefined || user.isDisabled) throw new errors.InvalidToken('associated account not found');
    if (grant === undefined) throw new errors.InvalidToken('grant not found, expired, or of another client or user');
    await describe(deps, ctx, { client, user, token, grant, scope });
  };
}

/** @throws InvalidToken, InsufficientScope, InvalidDpopProof (RFC 6750 §3.1, RFC 9449 §7.1) */
async function findPresented(deps: UserinfoDeps, ctx: KoaContextWithOIDC) {
  const { provider, readClientCertificate } = deps;
  const value = presentedToken(ctx);
  const dpop = await validateDpop(provider, ctx, value);
  const found = await findAccessToken(deps, value);
  if (found === undefined || found.token.isExpired) throw new errors.InvalidToken('access token not found');
  const { token, grant } = found;
  ctx.oidc.entity('AccessToken', token);
  const scopes = await openIdScopesOf(deps.directory, token);
  if (!scopes.has('openid')) throw new errors.InsufficientScope('access token missing openid scope', 'openid');
  assertCertificate(token, readClientCertificate, ctx.req);
  await checkDpopReplay(provider, ctx, dpop, token.clientId);
  if (dpop !== undefined && token.jkt === undefined) {
    throw new errors.InvalidToken('access token is not sender-constrained but proof of possession was provided');
  }
  if (token.jkt !== undefined && token.jkt !== dpop?.thumbprint) {
    throw new errors.InvalidToken('failed jkt verification');
  }
  return { token, grant, scopes };
}

interface Found {
  readonly token: AccessToken;
  /** undefined: as in TokenWithGrant; a token that was exchanged has none of its own */
  readonly grant: Grant | undefined;
}

/** Opaque, or a JWT, which has no row: its signature is verified. @returns undefined for other kinds of tokens, too */
async function findAccessToken(deps: UserinfoDeps, value: string): Promise<Found | undefined> {
  if (modelByPrefix(value) !== undefined) {
    const found = await deps.findTokenWithGrant('AccessToken', value);
    return found && { token: found.source, grant: found.grant };
  }
  const token = await findIssuedToken(deps, value);
  if (token?.kind !== 'AccessToken') return undefined;
  return { token: token as AccessToken, grant: await findItsGrant(deps.provider, token) };
}

/**
 * The scopes that say which claims the token is for. One for an API must be valid as at introspection:
 * by its client, its user and its policy row.
 * @throws InvalidToken, InsufficientScope
 */
async function openIdScopesOf(directory: Directory, token: AccessToken): Promise<ReadonlySet<string>> {
  const { aud, clientId = '', accountId, iat: issuedAt } = token;
  if (aud === undefined) return token.scopes;
  const status = await findTokenStatus(directory, { clientId, accountId, audiences: [aud].flat(), issuedAt });
  const resourceServer = await directory.findResourceServer(String(aud));
  if (status === undefined || resourceServer === undefined) {
    throw new errors.InvalidToken('the client or user of the token, or its policy row, is not valid any more');
  }
  if (!resourceServer.acceptedAtUserinfo) {
    throw new errors.InsufficientScope(
      'tokens for this API are not accepted here: ask for OpenID scopes only',
      'openid',
    );
  }
  return new Set(openIdScopesAt(resourceServer).filter((name) => token.scopes.has(name)));
}

/** RFC 6750 §2.1, RFC 9449 §7.1 */
const AUTHORIZATION = /^(Bearer|DPoP) ([\w.~+/-]+=*)$/;

/** In the header, as most libraries send it; every other way the engine reads or refuses. */
function presentedToken(ctx: KoaContextWithOIDC): string {
  const { authorization = '', dpop, 'content-type': contentType } = ctx.headers;
  const [, scheme, value] = AUTHORIZATION.exec(authorization) ?? [];
  const isAlone = ctx.method === 'GET' && ctx.querystring === '' && contentType === undefined;
  if (value !== undefined && isAlone && (scheme === 'DPoP') === Boolean(dpop)) return value;
  return ctx.oidc.getAccessToken({ acceptDPoP: true });
}

/** RFC 8705 §3 */
function assertCertificate(
  { 'x5t#S256': bound }: AccessToken,
  read: ReadClientCertificate | undefined,
  request: IncomingMessage,
): void {
  if (bound === undefined) return;
  const certificate = validCertificate(read, request);
  if (certificate === undefined || certificateThumbprint(certificate) !== bound) {
    throw new errors.InvalidToken('failed x5t#S256 verification');
  }
}

const SCOPE_SYNTAX = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

/** A caller may ask for less than the token has. @throws InvalidRequest, InsufficientScope */
function narrowedScope(requested: unknown, held: ReadonlySet<string>): ReadonlySet<string> {
  if (requested === undefined) return held;
  if (typeof requested !== 'string' || !SCOPE_SYNTAX.test(requested)) {
    throw new errors.InvalidRequest('scope contains invalid characters');
  }
  const missing = [...scopesOf(requested)].filter((name) => !held.has(name));
  if (missing.length > 0) {
    throw new errors.InsufficientScope('access token missing requested scope', missing.join(' '));
  }
  return scopesOf(requested);
}

interface Described {
  readonly client: Client;
  readonly user: CachedUser;
  readonly token: AccessToken;
  readonly grant: Grant;
  readonly scope: ReadonlySet<string>;
}

/** As JSON, or signed where the client has registered that (OpenID Connect Core §5.3.2). */
async function describe({ provider }: UserinfoDeps, ctx: KoaContextWithOIDC, described: Described): Promise<void> {
  const { client, user, token, grant } = described;
  const available = { ...standardClaims(user), sub: user.id };
  const scope = grant.getOIDCScopeFiltered(new Set(described.scope));
  const choice = grantedClaims(token.claims, 'userinfo', grant);
  if (client.userinfoSignedResponseAlg !== undefined) {
    const signed = createIdToken(provider, available, { client }, { scope, ...choice });
    ctx.body = await signed.issue({ use: 'userinfo', expiresAt: token.exp });
    ctx.type = 'application/jwt; charset=utf-8';
    return;
  }
  const claims = new provider.Claims(available, { client });
  claims.scope(scope);
  claims.mask(choice.mask);
  claims.rejected(choice.rejected);
  ctx.body = await claims.result();
}
