// The policy where tokens are issued: "client C may call resource server R with scopes S". It is
// asked whenever a token is issued for R: at the authorization request, at the code exchange, at
// every refresh, for client_credentials. No row, no token.

import type { Client, KoaContextWithOIDC, ResourceServer } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { isSelfRegistered } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { isBelowProfile } from '../../clients/security-profile.ts';
import { type Answer, allAnswers, type Found } from '../../database/cache.ts';
import { type CachedGrants, type CachedResourceServer, grantAt } from '../../resource-servers/lookup.ts';
import type { Directory } from './directory.ts';

export interface Permitted {
  readonly resourceServer: CachedResourceServer;
  /** what the policy row and the resource server both have */
  readonly scope: string;
  /** may exchange tokens of users for it */
  readonly mayExchange: boolean;
  /** its tokens are signed with less than the security profile of the client demands */
  readonly isBelowProfile: boolean;
}

/** @returns undefined if there is no such resource server, or the client may not call it */
export function findPermitted(directory: Directory, indicator: string, clientId: string): Answer<Permitted> {
  const rows = allAnswers<Rows>([
    directory.findResourceServer(indicator),
    directory.findGrants(clientId),
    directory.findClient(clientId),
  ]);
  return rows instanceof Promise ? rows.then(permittedBy) : permittedBy(rows);
}

type Rows = [CachedResourceServer, CachedGrants, CachedClient];

function permittedBy([resourceServer, grants, client]: Found<Rows>): Permitted | undefined {
  const isUnknownSoftware = client !== undefined && isSelfRegistered(client);
  const granted = resourceServer && grantAt(resourceServer, grants, isUnknownSoftware);
  if (resourceServer === undefined || granted === undefined) return undefined;
  const { scopes, mayExchange } = granted;
  const { accessTokenFormat, accessTokenAlgorithm } = resourceServer;
  return {
    resourceServer,
    mayExchange,
    isBelowProfile: accessTokenFormat === 'jwt' && isBelowProfile(accessTokenAlgorithm, client?.metadata),
    scope: scopes.filter((name) => resourceServer.scopes.includes(name)).join(' '),
  };
}

/**
 * @throws InvalidTarget (RFC 8707 §2). The same text for both: which resource servers exist is not
 * told to every client.
 */
export async function getPermitted(directory: Directory, indicator: string, clientId: string): Promise<Permitted> {
  const found = findPermitted(directory, indicator, clientId);
  const permitted = found instanceof Promise ? await found : found;
  if (permitted === undefined) throw new errors.InvalidTarget(whyNot(indicator));
  assertProfile(permitted);
  return permitted;
}

/** @throws InvalidTarget (FAPI 2.0 Security Profile §5.4.1) */
export function assertProfile({ isBelowProfile, resourceServer }: Permitted): void {
  if (!isBelowProfile) return;
  const alg = resourceServer.accessTokenAlgorithm;
  throw new errors.InvalidTarget(
    `access tokens for that resource server are signed with ${alg}, which the security profile of this client excludes`,
  );
}

/** The identifier of a resource server is neither relative nor does it have a fragment. */
function whyNot(indicator: string): string {
  if (!URL.canParse(indicator)) return 'resource indicator must be an absolute URI';
  if (indicator.includes('#')) return 'resource indicator must not contain a fragment component';
  return 'this client may not call that resource server';
}

export interface ResourcePolicyDeps {
  readonly directory: Directory;
  readonly accessTokenSeconds: number;
}

export interface ResourcePolicy {
  /**
   * Configuration `features.resourceIndicators.getResourceServerInfo`.
   * @throws InvalidTarget (RFC 8707 §2)
   */
  getResourceServerInfo(ctx: KoaContextWithOIDC, indicator: string, client: Client): Promise<ResourceServer>;
  /** A resource server with the engine's member names. */
  describe(permitted: Permitted): ResourceServer;
}

export function createResourcePolicy({ directory, accessTokenSeconds }: ResourcePolicyDeps): ResourcePolicy {
  const describe = ({ resourceServer, scope }: Permitted): ResourceServer => ({
    scope,
    audience: resourceServer.identifier,
    accessTokenFormat: resourceServer.accessTokenFormat,
    accessTokenTTL: resourceServer.accessTokenTtlSeconds ?? accessTokenSeconds,
    jwt: { sign: { alg: resourceServer.accessTokenAlgorithm } },
  });
  return {
    describe,
    async getResourceServerInfo(_ctx, indicator, client) {
      return describe(await getPermitted(directory, indicator, client.clientId));
    },
  };
}
