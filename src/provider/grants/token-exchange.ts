// Token exchange (RFC 8693): an API that was called with the token of a user asks for a token with
// which it may call the next one. The new token is bound to the client that exchanged, names the
// user and the chain of actors (`act`), can do nothing that the old one could not, does not outlive
// it, and ends with the user's first grant. Which client may present which token: exchanged-tokens.

import { type AccessToken, type Client, errors } from 'oidc-provider';
import type { AuditEvent } from '../../audit/audit.ts';
import { mayActFor, mayDelegate } from '../../client-binding.ts';
import { isSameIdentifier } from '../../resource-servers/identifier.ts';
import type { Directory } from '../policy/directory.ts';
import { apiScopesOf } from '../policy/openid-scopes.ts';
import { assertProfile, findPermitted, type Permitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { type Actor, chainOf, type DelegationClaims, delegationOf } from '../tokens/delegation.ts';
import {
  assertItsKey,
  type ExchangeTokensDeps,
  findActor,
  loadSubject,
  type SubjectToken,
} from './exchanged-tokens.ts';
import type { Grant, GrantParameters, TokenResponse } from './grant.ts';
import { assertProven, bindToKey, boundCertificate, type Proof } from './proof.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const TOKEN_TYPES = [ACCESS_TOKEN_TYPE, JWT_TYPE];

const PARAMS = [
  ...['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type'],
  ...['audience', 'resource', 'scope'],
];

export interface TokenExchangeDeps extends ExchangeTokensDeps {
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
  readonly unitOfWork: Pick<UnitOfWork, 'record'>;
}

export function tokenExchange(deps: TokenExchangeDeps): Grant {
  return {
    type: TOKEN_EXCHANGE,
    parameters: PARAMS,
    required: [],
    repeatable: ['audience', 'resource'],
    issue: (client, parameters, proof) => exchange(deps, client, parameters, proof),
  };
}

async function exchange(
  deps: TokenExchangeDeps,
  client: Client,
  parameters: GrantParameters,
  proof: Proof,
): Promise<TokenResponse> {
  if (client.clientAuthMethod === 'none') {
    throw new errors.UnauthorizedClient('token exchange needs a client that authenticates');
  }
  assertTypes(parameters);
  assertProven(client, proof);
  const subject = await loadSubject(deps, client, String(parameters.subject_token));
  const { actor, token: actorToken } = await findActor(deps, client, parameters.actor_token);
  if (!mayActFor(subject.extra?.may_act, actor)) {
    // RFC 8693 §4.4
    throw new errors.InvalidRequest('the subject token names another actor');
  }
  const target = findTarget(parameters);
  const claims = delegated(subject, actor);
  const permitted = await findExchangeable(deps, client, target, claims);
  const info = deps.resourcePolicy.describe(permitted);
  const { identifier } = permitted.resourceServer;
  if (parameters.requested_token_type === JWT_TYPE && info.accessTokenFormat !== 'jwt') {
    throw new errors.InvalidRequest('access tokens for that resource server are not JWTs');
  }

  const token: ExchangedToken = Object.assign(
    new deps.provider.AccessToken({ client, accountId: subject.accountId, gty: 'token_exchange' } as never),
    { extraClaims: claims },
  );
  token.resourceServer = new deps.provider.ResourceServer(identifier, info);
  // What the user's first app may read of the user is not passed on.
  token.scope = narrowed(parameters.scope, await apiScopesOf(deps.directory, subject), permitted.scope);
  // Never the key of the subject token: the client that exchanges proves its own.
  await bindToKey(token, proof, boundCertificate(client, proof));
  for (const presented of [subject, actorToken]) if (presented !== undefined) assertItsKey(presented, token);
  const expiresIn = limitLifetime(token, subject, Number(info.accessTokenTTL));
  const value = await token.save();
  deps.unitOfWork.record(exchangeEvent(token, subject, identifier));
  return {
    access_token: value,
    issued_token_type: parameters.requested_token_type ?? ACCESS_TOKEN_TYPE,
    token_type: token.tokenType,
    expires_in: expiresIn,
    scope: token.scope,
  };
}

/**
 * @throws InvalidTarget unless the policy row lets this client exchange, and the resource server
 * accepts the chain
 */
async function findExchangeable(
  { directory }: TokenExchangeDeps,
  client: Client,
  target: string,
  claims: DelegationClaims,
): Promise<Permitted> {
  const permitted = await findPermitted(directory, target, client.clientId);
  if (!permitted?.mayExchange || !mayDelegate(chainOf(claims), permitted.resourceServer.delegation)) {
    throw new errors.InvalidTarget('this client may not exchange that token for that resource server');
  }
  assertProfile(permitted);
  return permitted;
}

type ExchangedToken = AccessToken & { readonly extraClaims: DelegationClaims };

/** RFC 8693 §2.1 */
function assertTypes(parameters: GrantParameters): void {
  if (!parameters.subject_token || !parameters.subject_token_type) {
    throw new errors.InvalidRequest('subject_token and subject_token_type are needed');
  }
  if ((parameters.actor_token === undefined) !== (parameters.actor_token_type === undefined)) {
    throw new errors.InvalidRequest('actor_token and actor_token_type belong together');
  }
  for (const name of ['subject_token_type', 'actor_token_type', 'requested_token_type']) {
    const type = parameters[name];
    if (type !== undefined && !TOKEN_TYPES.includes(String(type))) throw new errors.InvalidRequest(`unknown ${name}`);
  }
}

/** What the audit log keeps of each exchange. */
function exchangeEvent(token: ExchangedToken, subject: SubjectToken, target: string): AuditEvent {
  return {
    type: 'token.exchanged',
    actor: `client:${token.clientId}`,
    clientId: token.clientId,
    accountId: subject.accountId,
    detail: {
      resource_server: target,
      scope: token.scope,
      chain: chainOf(token.extraClaims),
      subject_client: subject.clientId,
    },
  };
}

/** One target, named by either parameter. */
function findTarget(parameters: GrantParameters): string {
  const targets = new Set([parameters.resource ?? [], parameters.audience ?? []].flat());
  const [target] = targets;
  if (target === undefined || [...targets].some((other) => !isSameIdentifier(other, target))) {
    throw new errors.InvalidTarget('name one resource server, with resource or audience');
  }
  return target;
}

function delegated(subject: SubjectToken, actor: Actor): DelegationClaims {
  const before = delegationOf(subject.extra);
  return {
    act: before === undefined ? actor : { ...actor, act: before.act },
    lanyard_origin: {
      grant_id: before?.lanyard_origin.grant_id ?? (subject.grantId as string),
      client_id: before?.lanyard_origin.client_id ?? subject.clientId,
      audiences: [...(before?.lanyard_origin.audiences ?? []), subject.aud],
    },
  };
}

/**
 * RFC 8693 §2.2.1 leaves the lifetime to us: it never outlives the subject token. To be called
 * last: a later wait would be added to it.
 * @returns seconds
 * @throws InvalidRequest when the subject token has expired meanwhile
 */
function limitLifetime(token: ExchangedToken, subject: SubjectToken, ttlSeconds: number): number {
  const now = Math.floor(Date.now() / 1000);
  if (subject.exp <= now) throw new errors.InvalidRequest('the subject token has expired');
  const exp = Math.min(now + ttlSeconds, subject.exp);
  Object.assign(token, { exp, expiresIn: exp - now });
  return exp - now;
}

/**
 * @param held by the subject token
 * @throws InvalidScope for scopes that the subject token does not have, or when nothing is left
 * that the client was granted
 */
function narrowed(requested: unknown, held: ReadonlySet<string>, permittedScope: string): string {
  const wanted = typeof requested === 'string' ? [...new Set(requested.split(' '))] : [...held];
  const excess = wanted.filter((name) => !held.has(name));
  if (excess.length > 0) throw new errors.InvalidScope('more than the subject token has for its API', excess.join(' '));
  const permitted = new Set(permittedScope.split(' '));
  const scope = wanted.filter((name) => permitted.has(name)).join(' ');
  if (scope === '')
    throw new errors.InvalidScope('this client was granted none of the scopes of the subject token', wanted.join(' '));
  return scope;
}
