// Token exchange (RFC 8693): an API that was called with the token of a user asks for a token with which it may call the next one.
// The new token is bound to whoever exchanged, says on whose behalf and through whose hands (`act`), can do nothing that the old one
// could not, does not outlive it, and dies with what the user allowed at first.
// Who may present which token: exchange-tokens.

import { type AccessToken, type Client, errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider';
// Documented, but not under semantic versioning: only here, and the engine's version is pinned.
import * as grants from 'oidc-provider/lib/helpers/grants.js';
import type { AuditEvent } from '../../audit/audit.ts';
import { mayActFor, mayDelegate } from '../../client-binding.ts';
import type { Directory } from '../policy/directory.ts';
import { findPermitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { type Actor, chainOf, type DelegationClaims, delegationOf } from '../tokens/delegation.ts';
import {
  assertItsKey,
  type ExchangeTokensDeps,
  findActor,
  loadSubject,
  type SubjectToken,
} from './exchanged-tokens.ts';

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
  readonly unitOfWork: UnitOfWork;
}

export function registerTokenExchange(deps: TokenExchangeDeps): void {
  const { provider, directory, unitOfWork } = deps;
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (ctx) => {
      const { client, params } = ctx.oidc as unknown as { client: Client; params: Params };
      if (client.clientAuthMethod === 'none') {
        throw new errors.UnauthorizedClient('token exchange needs a client that authenticates');
      }
      assertTypes(params);
      const dPoP = await grants.validateDpop(provider, ctx);
      grants.checkDpopRequired(provider, ctx, dPoP);
      const certificate = grants.checkMtlsCert(provider, ctx);

      const subject = await loadSubject(deps, ctx, String(params.subject_token));
      const { actor, token: actorToken } = await findActor(deps, ctx, params.actor_token as string | undefined);
      if (!mayActFor(subject.extra?.may_act, actor)) {
        // RFC 8693 §4.4
        throw new errors.InvalidRequest('the subject token names somebody else as its actor');
      }
      const target = findTarget(params);
      const permitted = await findPermitted(directory, target, client.clientId);
      const claims = handedOn(subject, actor);
      if (!permitted?.mayExchange || !mayDelegate(chainOf(claims), permitted.resourceServer.delegation)) {
        throw new errors.InvalidTarget('this client may not exchange that token for that resource server');
      }

      const token = new provider.AccessToken({
        client,
        accountId: subject.accountId,
        gty: 'token_exchange',
      } as never) as ExchangedToken;
      const info = deps.resourcePolicy.describe(permitted) as ResourceServer & { accessTokenTTL: number };
      if (params.requested_token_type === JWT_TYPE && info.accessTokenFormat !== 'jwt') {
        throw new errors.InvalidRequest('access tokens for that resource server are not JWTs');
      }
      const { ResourceServer: Server } = provider as unknown as { ResourceServer: ResourceServerClass };
      token.resourceServer = new Server(target, info);
      token.scope = narrowed(params.scope, subject, permitted.scope);
      token.extraClaims = claims;
      // Never the key of the subject token: whoever exchanges proves its own.
      if (certificate !== undefined) token.setThumbprint('x5t', certificate as never);
      if (dPoP) token.setThumbprint('jkt', dPoP.thumbprint);
      for (const presented of [subject, actorToken]) if (presented !== undefined) assertItsKey(presented, token);
      if (dPoP) await grants.checkDpopReplay(provider, ctx, dPoP, client.clientId);
      limitLifetime(token, subject, info.accessTokenTTL);
      ctx.oidc.entity('AccessToken', token);
      const value = await token.save();
      await unitOfWork.write({ kind: 'audit', event: exchangeEvent(ctx, token, subject, target) });
      ctx.body = {
        access_token: value,
        issued_token_type: params.requested_token_type ?? ACCESS_TOKEN_TYPE,
        token_type: token.tokenType,
        expires_in: token.expiresIn,
        ...(token.scope === undefined ? {} : { scope: token.scope }),
      };
    },
    PARAMS,
    ['audience', 'resource'],
  );
}

type ResourceServerClass = new (identifier: string, info: object) => NonNullable<AccessToken['resourceServer']>;
type ExchangedToken = AccessToken & { exp: number; expiresIn: number; extraClaims: DelegationClaims };
type Params = Readonly<Record<string, unknown>>;

/** RFC 8693 §2.1 */
function assertTypes(params: Params): void {
  if (!params.subject_token || !params.subject_token_type) {
    throw new errors.InvalidRequest('subject_token and subject_token_type are needed');
  }
  if ((params.actor_token === undefined) !== (params.actor_token_type === undefined)) {
    throw new errors.InvalidRequest('actor_token and actor_token_type belong together');
  }
  for (const name of ['subject_token_type', 'actor_token_type', 'requested_token_type']) {
    const type = params[name];
    if (type !== undefined && !TOKEN_TYPES.includes(String(type))) throw new errors.InvalidRequest(`unknown ${name}`);
  }
}

/** What the audit log keeps of each hop. */
function exchangeEvent(
  ctx: KoaContextWithOIDC,
  token: ExchangedToken,
  subject: SubjectToken,
  target: string,
): AuditEvent {
  return {
    type: 'token.exchanged',
    actor: `client:${token.clientId}`,
    clientId: token.clientId,
    accountId: subject.accountId,
    requestId: ctx.get('x-request-id'),
    detail: {
      resource_server: target,
      scope: token.scope,
      chain: chainOf(token.extraClaims),
      subject_client: subject.clientId,
    },
  };
}

/** One target, by whichever name. */
function findTarget(params: Params): string {
  const targets = new Set([params.resource ?? [], params.audience ?? []].flat().map(String));
  const [target] = targets;
  if (target === undefined || targets.size > 1) {
    throw new errors.InvalidTarget('name one resource server, with resource or audience');
  }
  return target;
}

function handedOn(subject: SubjectToken, actor: Actor): DelegationClaims {
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
 * RFC 8693 §2.2.1 leaves the lifetime to us: it never outlives what it was made of. To be asked last, because what is awaited
 * afterwards would be added to it. @throws InvalidRequest when the subject token has expired meanwhile
 */
function limitLifetime(token: ExchangedToken, subject: SubjectToken, ttlSeconds: number): void {
  const now = Math.floor(Date.now() / 1000);
  if (subject.exp <= now) throw new errors.InvalidRequest('the subject token has expired');
  token.exp = Math.min(now + ttlSeconds, subject.exp);
  token.expiresIn = token.exp - now;
}

/** @throws InvalidScope for scopes that the subject token does not have, or when nothing is left that the client was granted */
function narrowed(requested: unknown, subject: SubjectToken, permittedScope: string): string {
  const held = subject.scopes;
  const wanted = typeof requested === 'string' ? [...new Set(requested.split(' '))] : [...held];
  const excess = wanted.filter((name) => !held.has(name));
  if (excess.length > 0) throw new errors.InvalidScope('more than the subject token has', excess.join(' '));
  const permitted = new Set(permittedScope.split(' '));
  const scope = wanted.filter((name) => permitted.has(name)).join(' ');
  if (scope === '')
    throw new errors.InvalidScope('this client was granted none of the scopes of the subject token', wanted.join(' '));
  return scope;
}
