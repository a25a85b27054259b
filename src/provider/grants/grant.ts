// The grants of the token endpoint. Each is one object: its name, every parameter that it takes, and a function of the client, the
// parameters and the proof of possession that issues the tokens. Both transports call it: the engine's own pipeline and the fast
// path. The engine authenticates the client before (it drops every parameter that no grant names); what a grant writes is
// committed here, before the answer leaves. The binding, policy and storage of tokens are in tokens/ and policy/.

import type Provider from 'oidc-provider';
import { type Client, errors, type TokenEndpointGrantContext } from 'oidc-provider';
import type { Metrics } from '../../metrics/metrics.ts';
import { type ReadClientCertificate, validCertificate } from '../clients/mutual-tls.ts';
import { checkDpopReplay, type DpopProof, validateDpop } from '../engine-internals.ts';
import { AlreadyConsumedError } from '../storage/artifact-store.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { graceSeconds, justRotated } from '../tokens/refresh-grace.ts';
import type { RevokeReplayed } from '../tokens/replayed.ts';
import type { Proof } from './proof.ts';

/** As the client sent them; undefined when missing or empty, a list where a repeatable one occurs more than once. */
export type GrantParameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/** RFC 6749 §5.1; members that are undefined are left out. */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: string;
  readonly expires_in: number;
  readonly [member: string]: unknown;
}

export interface Grant {
  readonly type: string;
  readonly parameters: readonly string[];
  readonly required: readonly string[];
  /** those that may occur more than once */
  readonly repeatable: readonly string[];
  /** @throws OIDCProviderError */
  issue(client: Client, parameters: GrantParameters, proof: Proof): Promise<TokenResponse>;
}

export interface GrantsDeps {
  readonly provider: Provider;
  readonly unitOfWork: UnitOfWork;
  readonly readClientCertificate: ReadClientCertificate | undefined;
  readonly revokeReplayed: RevokeReplayed;
  readonly metrics: Pick<Metrics, 'refreshTokenReused'>;
}

/** In place of the engine's own grant of that name, if it has one. */
export function registerGrants(deps: GrantsDeps, grants: readonly Grant[]): void {
  for (const grant of grants) {
    deps.provider.registerGrantType(grant.type, (ctx) => answer(deps, grant, ctx), grant.parameters, grant.repeatable);
  }
}

async function answer(deps: GrantsDeps, grant: Grant, ctx: TokenEndpointGrantContext): Promise<void> {
  const { client } = ctx.oidc;
  const parameters = ctx.oidc.params as GrantParameters;
  assertPresent(parameters, grant.required);
  const proof = toProof(deps, ctx, await validateDpop(deps.provider, ctx));
  const requestId = ctx.get('x-request-id');
  const { result, commit } = await deps.unitOfWork.collect(requestId, () => grant.issue(client, parameters, proof));
  try {
    if (await commit()) deps.metrics.refreshTokenReused();
  } catch (error) {
    await refuseCommit(deps, client, requestId, error);
  }
  ctx.body = result;
}

function assertPresent(parameters: GrantParameters, required: readonly string[]): void {
  const missing = required.filter((name) => parameters[name] === undefined);
  if (missing.length === 0) return;
  const names = missing.map((name) => `'${name}'`).join(' and ');
  throw new errors.InvalidRequest(`missing required ${missing.length > 1 ? 'parameters' : 'parameter'} ${names}`);
}

function toProof(
  { provider, readClientCertificate }: GrantsDeps,
  ctx: TokenEndpointGrantContext,
  dpop: DpopProof,
): Proof {
  return {
    jkt: dpop?.thumbprint,
    certificate: validCertificate(readClientCertificate, ctx.req),
    spend: () => checkDpopReplay(provider, ctx, dpop, ctx.oidc.client.clientId),
  };
}

/**
 * Of two requests that redeem the same code or rotating refresh token at once one is committed. The other is a replay, which
 * revokes what the first got (RFC 6749 §4.1.2, RFC 9700 §4.14.2), but for a refresh token within its grace: there it was refused
 * tokens of its own, or has used them up.
 */
async function refuseCommit(
  { revokeReplayed }: GrantsDeps,
  client: Client,
  requestId: string,
  error: unknown,
): Promise<never> {
  if (!(error instanceof AlreadyConsumedError)) throw error;
  // Where the database has not decided, both came at the same moment.
  if (error.model === 'RefreshToken' && (error.isWithinGrace ?? graceSeconds(client) > 0)) throw justRotated();
  await revokeReplayed({ model: error.model, artifactId: error.artifactId, requestId });
  throw new errors.InvalidGrant(`${error.model} was consumed by another request`);
}
