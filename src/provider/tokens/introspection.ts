// The introspection policy (RFC 7662): which caller learns what about which token. It runs for every kind of token after the
// engine has authenticated the caller; a refusal is `{"active": false}` and nothing else, whatever its reason.

import { hash } from 'node:crypto';
import type { Middleware } from 'koa';
import type { AccessToken, Client, ClientCredentials, KoaContextWithOIDC, RefreshToken } from 'oidc-provider';
import { bindingClaims, boundClientId, mayIntrospect } from '../../client-binding.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { IntrospectionOutcome } from '../../metrics/traffic.ts';
import { spellings } from '../../resource-servers/resource-server.ts';
import { findTokenStatus, type TokenStatus } from '../policy/token-status.ts';
import { type DelegationDeps, delegationOf, isDelegationValid } from './delegation.ts';

/** The members of the three models that this file reads and writes. */
interface IntrospectedToken {
  readonly kind: string;
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly aud?: string | string[] | undefined;
  readonly resource?: string | string[] | undefined;
  readonly iat: number;
  readonly scopes: Set<string>;
  scope?: string | undefined;
  extra?: Record<string, unknown> | undefined;
}

/** @param asked what stands for the request: the reason of a refusal is kept with it, for the metrics */
export type IntrospectionPolicy = (
  asked: object,
  caller: Client,
  token: AccessToken | ClientCredentials | RefreshToken,
) => Promise<boolean>;

/** Why the policy said no. The caller never learns it. */
const refusals = new WeakMap<object, 'void' | 'foreign'>();

/** Configuration `features.introspection.allowedPolicy`. */
export function createIntrospectionPolicy(deps: DelegationDeps): IntrospectionPolicy {
  const { directory } = deps;
  return async (asked, caller, introspected) => {
    const token = introspected as unknown as IntrospectedToken;
    const { clientId } = token;
    refusals.set(asked, 'void');
    if (clientId === undefined || !isBound(token)) return false;
    const standing = await findTokenStatus(directory, {
      clientId,
      accountId: token.accountId,
      audiences: token.kind === 'RefreshToken' ? list(token.resource).flatMap(spellings) : list(token.aud),
      issuedAt: token.iat,
    });
    if (standing === undefined) return false;
    const delegation = delegationOf(token.extra);
    const [audience] = list(token.aud);
    const handedOn = delegation && { delegation, audience, accountId: token.accountId, issuedAt: token.iat };
    if (handedOn && !(await isDelegationValid(deps, handedOn))) return false;
    const isEntitled = mayIntrospect(
      { clientId: caller.clientId, isAuthenticated: caller.clientAuthMethod !== 'none' },
      {
        boundClientId: clientId,
        // A refresh token is for the client alone: no resource server has any business with it.
        audiences: token.kind === 'RefreshToken' ? [] : standing.audiences,
      },
    );
    refusals.set(asked, 'foreign');
    if (!isEntitled) return false;
    report(token, clientId, standing);
    return true;
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

/** The engine spreads `extra` into the answer. */
function report(token: IntrospectedToken, clientId: string, standing: TokenStatus): void {
  const { gid: _gid, lanyard_origin: _origin, ...extra } = token.extra ?? {};
  token.extra = {
    ...extra,
    ...bindingClaims(clientId),
    // RFC 9068 §2.2: the subject of a token that no user stands behind is the client.
    ...(token.accountId === undefined ? { sub: clientId } : {}),
    ...(standing.username === undefined ? {} : { username: standing.username }),
  };
  const { allowedScopes } = standing;
  if (allowedScopes !== undefined && token.kind !== 'RefreshToken' && token.scope !== undefined) {
    // The policy may have become narrower since the token was issued.
    token.scope = [...token.scopes].filter((scope) => allowedScopes.has(scope)).join(' ');
  }
}

function list(audience: string | string[] | undefined): string[] {
  return audience === undefined ? [] : Array.isArray(audience) ? audience : [audience];
}

/**
 * Completes an active answer: the engine leaves `jti` out where it is the token itself, and has no `token_type` for refresh
 * tokens. A guard accepts neither as an access token, because only `Bearer` and `DPoP` are types of one.
 */
export function introspectionAnswers(path: string, metrics: Pick<Metrics, 'introspected'>): Middleware {
  return async (ctx, next) => {
    await next();
    if (ctx.path !== path) return;
    const answer = ctx.body as { active?: boolean; jti?: string; token_type?: string } | undefined;
    if (typeof answer?.active === 'boolean') metrics.introspected(introspectionOutcome(answer.active, ctx));
    if (answer?.active !== true) return;
    answer.jti ??= nameOf(String((ctx as unknown as KoaContextWithOIDC).oidc.params?.token));
    answer.token_type ??= REFRESH_TOKEN_TYPE;
  };
}

/** @param asked as the policy was told */
export function introspectionOutcome(isActive: boolean, asked: object): IntrospectionOutcome {
  return isActive ? 'active' : (refusals.get(asked) ?? 'unknown');
}

/** What identifies an opaque token to whoever may not present it. */
export function nameOf(opaqueToken: string): string {
  return hash('sha256', opaqueToken, 'base64url');
}

export const REFRESH_TOKEN_TYPE = 'refresh_token';
