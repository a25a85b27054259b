// Introspection (RFC 7662): which caller learns what about which token. `createIntrospection` makes the answer for both transports;
// the policy in it is asked by token exchange too. A refusal is `{"active": false}` and nothing else, for every reason (§2.2).

import { hash } from 'node:crypto';
import type Provider from 'oidc-provider';
import { type AuthorizationDetail, type Client, errors } from 'oidc-provider';
import { bindingClaims, boundClientId, mayIntrospect } from '../../client-binding.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { IntrospectionOutcome } from '../../metrics/traffic.ts';
import { spellings } from '../../resource-servers/identifier.ts';
import { type PairwiseIdentifier, subjectAt } from '../clients/pairwise.ts';
import { detailsForIntrospection } from '../policy/authorization-details.ts';
import { findTokenStatus, type TokenStatus } from '../policy/token-status.ts';
import { type DelegationDeps, delegationOf, isDelegationValid } from './delegation.ts';
import { findIssuedToken, type IssuedToken } from './find-token.ts';
import type { JwtAccessTokens } from './jwt-access-tokens.ts';
import { modelByPrefix } from './token-prefixes.ts';
import { type FindTokenWithGrant, hasItsGrant, lacksGrant } from './token-with-grant.ts';

/** The members of the three models that this file reads and writes. */
interface IntrospectedToken {
  readonly kind: string;
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly aud?: string | string[] | undefined;
  readonly resource?: string | string[] | undefined;
  readonly iat: number;
  readonly sid?: string | undefined;
  readonly scopes: Set<string>;
  readonly jkt?: string | undefined;
  readonly 'x5t#S256'?: string | undefined;
  readonly rar?: readonly AuthorizationDetail[] | undefined;
  scope?: string | undefined;
  extra?: Record<string, unknown> | undefined;
}

/**
 * Rewrites the members `extra` and `scope` of a token that the caller may know about to what it may read.
 * @returns `active`; `inactive`: the token is not valid (any more); `not_permitted`: the caller may not introspect it
 */
export type IntrospectionPolicy = (
  caller: Client,
  token: IssuedToken,
) => Promise<Exclude<IntrospectionOutcome, 'unknown'>>;

export interface IntrospectionDeps extends DelegationDeps {
  readonly provider: Provider;
  readonly findTokenWithGrant: FindTokenWithGrant;
  readonly introspectionPolicy: IntrospectionPolicy;
  readonly jwtAccessTokens: Pick<JwtAccessTokens, 'verify' | 'toStored'>;
  readonly pairwiseIdentifier: PairwiseIdentifier;
  readonly metrics: Pick<Metrics, 'introspected'>;
}

/** @throws InvalidClientAuth for a caller that did not authenticate */
export type Introspect = (caller: Client, value: string) => Promise<{ readonly active: boolean }>;

export function createIntrospection(deps: IntrospectionDeps): Introspect {
  return async (caller, value) => {
    if (!isAuthenticated(caller)) throw unauthenticated();
    const token = await findActiveToken(deps, value);
    const outcome = token === undefined ? 'unknown' : await deps.introspectionPolicy(caller, token);
    deps.metrics.introspected(outcome);
    return token === undefined || outcome !== 'active' ? { active: false } : describe(deps, token, value);
  };
}

/** The id of a public client is no secret. */
const isAuthenticated = (caller: Client): boolean => caller.clientAuthMethod !== 'none';

/** RFC 7662 §2.1: "the endpoint MUST also require some form of authorization to access this endpoint". */
function unauthenticated(): errors.InvalidClientAuth {
  const error = new errors.InvalidClientAuth('a public client asked');
  return Object.assign(error, {
    error_description: 'client authentication is required, which public clients have not',
  });
}

/** Neither expired nor consumed, with its grant and session. The policy asks about its client and its user. */
async function findActiveToken(deps: IntrospectionDeps, value: string): Promise<IssuedToken | undefined> {
  const model = modelByPrefix(value);
  if (model === 'AccessToken' || model === 'RefreshToken') {
    const found = await deps.findTokenWithGrant(model, value);
    if (found === undefined || found.consumedAt !== undefined || lacksGrant(found)) return undefined;
    return found.source.isExpired ? undefined : found.source;
  }
  const token = await findIssuedToken(deps, value);
  return token?.isValid && (await hasItsGrant(deps.provider, token)) ? token : undefined;
}

/** RFC 7662 §2.2. Members that are undefined are left out. */
async function describe(deps: IntrospectionDeps, issued: IssuedToken, value: string): Promise<{ active: true }> {
  const { provider, directory, pairwiseIdentifier } = deps;
  const token: IntrospectedToken & Pick<IssuedToken, 'exp' | 'jti'> = issued;
  const { jkt, 'x5t#S256': x5t, clientId = '', accountId } = token;
  const client = accountId === undefined ? undefined : await provider.Client.find(clientId);
  const [audience] = list(token.aud);
  const details =
    token.rar &&
    detailsForIntrospection(
      audience === undefined ? undefined : await directory.findResourceServer(audience),
      token.rar,
    );
  const answer = {
    active: true as const,
    ...(client === undefined || accountId === undefined
      ? {}
      : { sub: subjectAt(pairwiseIdentifier, client, accountId) }),
    ...token.extra,
    client_id: clientId,
    exp: token.exp,
    iat: token.iat,
    sid: token.sid,
    iss: provider.issuer,
    // An opaque token is its own id, which must not appear where the token was not presented.
    jti: token.jti === value ? hash('sha256', value, 'base64url') : token.jti,
    aud: token.aud,
    authorization_details: details,
    scope: token.scope || undefined,
    cnf: jkt === undefined && x5t === undefined ? undefined : { jkt, 'x5t#S256': x5t },
    // A guard accepts `Bearer` and `DPoP` as access tokens, nothing else.
    token_type: issued.kind === 'RefreshToken' ? 'refresh_token' : issued.tokenType,
  };
  return answer;
}

export function createIntrospectionPolicy(deps: DelegationDeps): IntrospectionPolicy {
  const { directory } = deps;
  return async (caller, introspected) => {
    const token: IntrospectedToken = introspected;
    const { clientId } = token;
    if (clientId === undefined || !isBound(token)) return 'inactive';
    const status = await findTokenStatus(directory, {
      clientId,
      accountId: token.accountId,
      audiences: token.kind === 'RefreshToken' ? list(token.resource).flatMap(spellings) : list(token.aud),
      issuedAt: token.iat,
    });
    if (status === undefined) return 'inactive';
    const delegation = delegationOf(token.extra);
    const [audience] = list(token.aud);
    const delegated = delegation && { delegation, audience, accountId: token.accountId, issuedAt: token.iat };
    if (delegated && !(await isDelegationValid(deps, delegated))) return 'inactive';
    const isEntitled = mayIntrospect(
      { clientId: caller.clientId, isAuthenticated: isAuthenticated(caller) },
      {
        boundClientId: clientId,
        // A refresh token is for the client alone.
        audiences: token.kind === 'RefreshToken' ? [] : status.audiences,
      },
    );
    if (!isEntitled) return 'not_permitted';
    report(token, clientId, status);
    return 'active';
  };
}

/** An access token carries the binding itself; one that names no client, or two, is refused. A refresh token has no claims. */
function isBound(token: IntrospectedToken): boolean {
  if (token.kind === 'RefreshToken') return true;
  try {
    boundClientId({ client_id: token.clientId, azp: token.extra?.azp });
    return true;
  } catch {
    return false;
  }
}

function report(token: IntrospectedToken, clientId: string, status: TokenStatus): void {
  const { gid: _gid, lanyard_origin: _origin, ...extra } = token.extra ?? {};
  token.extra = {
    ...extra,
    ...bindingClaims(clientId),
    // RFC 9068 §2.2: the subject of a token without a user is the client.
    ...(token.accountId === undefined ? { sub: clientId } : {}),
    ...(status.username === undefined ? {} : { username: status.username }),
  };
  const { allowedScopes } = status;
  if (allowedScopes !== undefined && token.kind !== 'RefreshToken' && token.scope !== undefined) {
    // The policy may have become narrower since the token was issued.
    token.scope = [...token.scopes].filter((scope) => allowedScopes.has(scope)).join(' ');
  }
}

function list(audience: string | string[] | undefined): string[] {
  return audience === undefined ? [] : Array.isArray(audience) ? audience : [audience];
}
