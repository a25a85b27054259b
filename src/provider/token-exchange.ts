// Token exchange (RFC 8693): an API that was called with the token of a user asks for a token with which it may call the next one.
// The new token is bound to whoever exchanged, says on whose behalf and through whose hands (`act`), can do nothing that the old one
// could not, does not outlive it, and dies with what the user allowed at first.
//
// Who may present a token here: the client it was issued to, and the resource server that it is meant for. Whoever else has got
// hold of it gets the answer that a made-up token gets; otherwise token exchange would turn a stolen token into one of one's own.

import type Provider from 'oidc-provider';
import { type AccessToken, type Client, errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider';
// Documented, but not under semantic versioning: only here, and the engine's version is pinned.
import * as grants from 'oidc-provider/lib/helpers/grants.js';
import { isSameClient, mayActFor, mayDelegate } from '../client-binding.ts';
import { type Actor, chainOf, type DelegationClaims, delegationOf } from './delegation.ts';
import type { Directory } from './directory.ts';
import type { IntrospectionPolicy } from './introspection.ts';
import { findIssuedToken, hasItsGrant, type IssuedToken } from './issued-token.ts';
import type { JwtBridge } from './jwt-bridge.ts';
import { findPermitted, type ResourcePolicy } from './resource-server-info.ts';
import type { UnitOfWork } from './unit-of-work.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const TOKEN_TYPES = [ACCESS_TOKEN_TYPE, JWT_TYPE];

const PARAMS = [
  ...['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type'],
  ...['audience', 'resource', 'scope'],
];

export interface TokenExchangeDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
  readonly introspectionPolicy: IntrospectionPolicy;
  readonly jwtBridge: Pick<JwtBridge, 'verify' | 'toStored'>;
  readonly unitOfWork: UnitOfWork;
}

/** The members of a subject token that an exchange reads. */
type SubjectToken = IssuedToken & {
  readonly accountId: string;
  readonly exp: number;
  readonly grantId?: string;
  readonly extra?: Record<string, unknown>;
};

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
      const actor = await findActor(deps, ctx);
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
      } as never) as AccessToken & { expiresIn: number; extraClaims: DelegationClaims };
      const info = deps.resourcePolicy.describe(permitted) as ResourceServer & { accessTokenTTL: number };
      const { ResourceServer: Server } = provider as unknown as { ResourceServer: ResourceServerClass };
      token.resourceServer = new Server(target, info);
      token.scope = narrowed(params.scope, subject, permitted.scope);
      // RFC 8693 §2.2.1 leaves the lifetime to us: it never outlives what it was made of.
      token.expiresIn = Math.min(info.accessTokenTTL, subject.exp - Math.floor(Date.now() / 1000));
      token.extraClaims = claims;
      // Never the key of the subject token: whoever exchanges proves its own.
      if (certificate !== undefined) token.setThumbprint('x5t', certificate as never);
      if (dPoP) {
        await grants.checkDpopReplay(provider, ctx, dPoP, client.clientId);
        token.setThumbprint('jkt', dPoP.thumbprint);
      }
      ctx.oidc.entity('AccessToken', token);
      const value = await token.save();
      await unitOfWork.write({
        kind: 'audit',
        event: {
          type: 'token.exchanged',
          actor: `client:${client.clientId}`,
          clientId: client.clientId,
          accountId: subject.accountId,
          requestId: ctx.get('x-request-id'),
          detail: {
            resource_server: target,
            scope: token.scope,
            chain: chainOf(claims),
            subject_client: subject.clientId,
          },
        },
      });
      ctx.body = {
        access_token: value,
        issued_token_type: value.split('.').length === 3 ? JWT_TYPE : ACCESS_TOKEN_TYPE,
        token_type: token.tokenType,
        expires_in: token.expiration,
        ...(token.scope === undefined ? {} : { scope: token.scope }),
      };
    },
    PARAMS,
    ['audience', 'resource'],
  );
}

type ResourceServerClass = new (identifier: string, info: object) => NonNullable<AccessToken['resourceServer']>;
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

/** A token that stands and that this client may know about. RFC 8693 §2.2.2: invalid_request if it is "invalid for any reason". */
async function loadToken(
  deps: TokenExchangeDeps,
  ctx: KoaContextWithOIDC,
  value: string,
): Promise<IssuedToken | undefined> {
  const token = await findIssuedToken(deps, value);
  if (token === undefined || !token.isValid || token.kind === 'RefreshToken') return undefined;
  if (!(await hasItsGrant(deps.provider, token))) return undefined;
  const { client } = ctx.oidc;
  // The policy rewrites `extra` into what its caller may read.
  const { extra } = token as { extra?: object };
  if (client === undefined || !(await deps.introspectionPolicy(ctx, client, token))) return undefined;
  return Object.assign(token, { extra });
}

async function loadSubject(deps: TokenExchangeDeps, ctx: KoaContextWithOIDC, value: string): Promise<SubjectToken> {
  const token = await loadToken(deps, ctx, value);
  if (token === undefined) throw new errors.InvalidRequest('the subject token is not valid, or not for this client');
  if ((token as { accountId?: string }).accountId === undefined) {
    throw new errors.InvalidRequest(
      'only tokens of users can be exchanged; a client asks for its own with client_credentials',
    );
  }
  return token as SubjectToken;
}

/** RFC 8693 §2.1: who acts. Without an actor token it is the client itself. */
async function findActor(deps: TokenExchangeDeps, ctx: KoaContextWithOIDC): Promise<Actor> {
  const { client, params } = ctx.oidc as unknown as { client: { clientId: string }; params: Params };
  if (params.actor_token === undefined) return { sub: client.clientId, client_id: client.clientId };
  const token = await loadToken(deps, ctx, String(params.actor_token));
  if (token === undefined || !isSameClient(token.clientId, client.clientId))
    throw new errors.InvalidRequest('the actor token is not one of this client');
  return { sub: (token as { accountId?: string }).accountId ?? client.clientId, client_id: client.clientId };
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
    lanyard_origin: before?.lanyard_origin ?? {
      grant_id: subject.grantId as string,
      client_id: subject.clientId as string,
    },
  };
}

/** @throws InvalidScope for scopes that the subject token does not have, or when nothing is left that the client was granted */
function narrowed(requested: unknown, subject: SubjectToken, permittedScope: string): string {
  const held = subject.scopes;
  const wanted = typeof requested === 'string' ? requested.split(' ') : [...held];
  const excess = wanted.filter((name) => !held.has(name));
  if (excess.length > 0) throw new errors.InvalidScope('more than the subject token has', excess.join(' '));
  const permitted = new Set(permittedScope.split(' '));
  const scope = wanted.filter((name) => permitted.has(name)).join(' ');
  if (scope === '')
    throw new errors.InvalidScope('this client was granted none of the scopes of the subject token', wanted.join(' '));
  return scope;
}
