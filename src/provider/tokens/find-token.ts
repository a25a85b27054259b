// Finds a token that this server has issued, opaque or JWT, as one of the engine's models: for
// token exchange and introspection.

import type Provider from 'oidc-provider';
import type { AccessToken, ClientCredentials, RefreshToken } from 'oidc-provider';
import { reviveModel } from '../engine-internals.ts';
import type { JwtAccessTokens } from './jwt-access-tokens.ts';
import { modelByPrefix, type PrefixedModel } from './token-prefixes.ts';

export type IssuedToken = AccessToken | ClientCredentials | RefreshToken;

export interface IssuedTokenDeps {
  readonly provider: Provider;
  readonly jwtAccessTokens: Pick<JwtAccessTokens, 'verify' | 'toStored'>;
}

/**
 * @returns undefined if there is none, or a JWT is not (any more) valid; an opaque one may have
 * expired
 */
export async function findIssuedToken(deps: IssuedTokenDeps, value: string): Promise<IssuedToken | undefined> {
  const model = modelByPrefix(value);
  return model === undefined ? findJwt(deps, value) : findOpaque(deps.provider, model, value);
}

function findOpaque(provider: Provider, model: PrefixedModel, value: string): Promise<IssuedToken | undefined> {
  return (provider[model] as typeof provider.AccessToken).find(value);
}

async function findJwt(
  { provider, jwtAccessTokens }: IssuedTokenDeps,
  value: string,
): Promise<IssuedToken | undefined> {
  const claims = await jwtAccessTokens.verify(value);
  if (claims === undefined) return undefined;
  const stored = jwtAccessTokens.toStored(claims);
  return reviveModel(provider, stored.kind as PrefixedModel, { ...stored });
}
