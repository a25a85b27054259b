// The policy at the first door: "client C may call resource server R with scopes S", asked whenever a token is issued for R:
// at the authorization request, at the code exchange, at every refresh, for client_credentials. No row, no token.

import type { Client, KoaContextWithOIDC, ResourceServer } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { isSelfRegistered } from '../../clients/client.ts';
import { type CachedResourceServer, grantAt } from '../../resource-servers/lookup.ts';
import type { Directory } from './directory.ts';

export interface Permitted {
  readonly resourceServer: CachedResourceServer;
  /** what the policy row and the resource server both have */
  readonly scope: string;
  /** may hand on tokens of users for it */
  readonly mayExchange: boolean;
}

/** @returns undefined if there is no such resource server, or the client may not call it */
export async function findPermitted(
  directory: Directory,
  indicator: string,
  clientId: string,
): Promise<Permitted | undefined> {
  const resourceServer = await directory.findResourceServer(indicator);
  const grants = await directory.findGrants(clientId);
  const client = await directory.findClient(clientId);
  const isUnknownSoftware = client !== undefined && isSelfRegistered(client);
  const granted = resourceServer && grantAt(resourceServer, grants, isUnknownSoftware);
  if (resourceServer === undefined || granted === undefined) return undefined;
  const { scopes, mayExchange } = granted;
  return {
    resourceServer,
    mayExchange,
    scope: scopes.filter((name) => resourceServer.scopes.includes(name)).join(' '),
  };
}

export interface ResourcePolicy {
  /** Configuration `features.resourceIndicators.getResourceServerInfo`. @throws InvalidTarget (RFC 8707 §2) */
  getResourceServerInfo(ctx: KoaContextWithOIDC, indicator: string, client: Client): Promise<ResourceServer>;
  /** Configuration `features.resourceIndicators.defaultResource` */
  defaultResource(
    ctx: KoaContextWithOIDC,
    client: Client,
    oneOf?: readonly string[],
  ): Promise<string | readonly string[] | undefined>;
  /** A resource server in the engine's words. */
  describe(permitted: Permitted): ResourceServer;
}

export function createResourcePolicy(deps: { directory: Directory; accessTokenSeconds: number }): ResourcePolicy {
  const { directory } = deps;

  function describe({ resourceServer, scope }: Permitted): ResourceServer {
    return {
      scope,
      audience: resourceServer.identifier,
      accessTokenFormat: resourceServer.accessTokenFormat,
      accessTokenTTL: resourceServer.accessTokenTtlSeconds ?? deps.accessTokenSeconds,
      jwt: { sign: { alg: 'ES256' } },
    } as ResourceServer;
  }

  return {
    describe,

    async getResourceServerInfo(ctx, indicator, client) {
      const permitted = await findPermitted(directory, indicator, client.clientId);
      if (permitted === undefined) {
        // The same text for both: which resource servers exist is not the client's business.
        throw new errors.InvalidTarget('this client may not call that resource server');
      }
      if (isClientCredentials(ctx)) settleScope(ctx, permitted.scope);
      return describe(permitted);
    },

    async defaultResource(ctx, client, oneOf) {
      if (oneOf !== undefined) return oneOf;
      if (!isClientCredentials(ctx)) return undefined;
      const [first, second] = (await directory.findGrants(client.clientId))?.keys() ?? [];
      if (first === undefined) throw new errors.InvalidTarget('this client may not call any resource server');
      if (second !== undefined) {
        throw new errors.InvalidTarget('this client may call several resource servers: name one with resource');
      }
      return first;
    },
  };
}

function isClientCredentials(ctx: KoaContextWithOIDC): boolean {
  return ctx.oidc.route === 'token' && ctx.oidc.params?.grant_type === 'client_credentials';
}

/**
 * RFC 6749 §3.3: a client that names no scope gets a default, for client_credentials everything it was granted. One that names
 * only scopes it was not granted gets no token: the engine would leave them all out, and `scope` out of its answer, which
 * means "as requested" (§5.1).
 */
function settleScope(ctx: KoaContextWithOIDC, granted: string): void {
  const { params } = ctx.oidc;
  // Several resources: the engine refuses them later, for the right reason.
  if (params === undefined || Array.isArray(params.resource)) return;
  if (params.scope === undefined) {
    if (granted !== '') params.scope = granted;
    return;
  }
  const requested = String(params.scope).split(' ');
  if (!requested.some((name) => granted.split(' ').includes(name))) {
    throw new errors.InvalidScope('this client was granted none of the requested scopes', String(params.scope));
  }
}
