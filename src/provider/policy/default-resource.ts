// Which resource server a request means that names none: the only one which its client may call
// with all scopes that it names (RFC 8707 §2 leaves a default to the server). It is decided once, at
// the first request of a flow and before anybody signs in, and stored with that request: what is
// exchanged or refreshed later is for the API that was decided then.
//
// Anybody can send an authorization request that names a client. No refusal tells which APIs there
// are: the log has their identifiers.

import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import { OPENID_SCOPES } from '../../clients/client.ts';
import type { Log } from '../../log.ts';
import type { CachedGrants } from '../../resource-servers/lookup.ts';
import { storeAsUnderstood } from '../engine-steps.ts';
import type { Directory } from './directory.ts';
import { requestedResources } from './requested-resources.ts';
import { scopesOf } from './requested-scopes.ts';
import { assertProfile, findPermitted, type Permitted } from './resource-server-policy.ts';

/** Its scopes have to be named where a user is asked. */
export interface AdminApi {
  readonly identifier: string;
  /** of the client that means it when it could mean several */
  readonly clientId: string;
}

export interface DefaultResourceDeps {
  readonly directory: Directory;
  readonly adminApi: AdminApi;
  readonly log: Log;
}

export interface UnnamedTarget {
  readonly clientId: string;
  readonly scope: string | undefined;
  /** false: with client_credentials */
  readonly hasUser: boolean;
}

async function findDefault(deps: DefaultResourceDeps, target: UnnamedTarget): Promise<Permitted> {
  const { clientId, scope, hasUser } = target;
  const { identifier: adminIdentifier, clientId: adminClientId } = deps.adminApi;
  const named = apiScopes(scope);
  const grants = (await deps.directory.findGrants(clientId)) ?? new Map();
  const suitable = (await findWithScopes(deps.directory, clientId, grants, named)).filter(
    // A user cannot be asked for nothing, and is asked for the admin API only where the request says so.
    (each) => !hasUser || named.length > 0 || (each.resourceServer.identifier !== adminIdentifier && each.scope !== ''),
  );
  const isAdmin = ({ resourceServer }: Permitted) => resourceServer.identifier === adminIdentifier;
  const preferred = isSameClient(clientId, adminClientId) ? suitable.find(isAdmin) : undefined;
  const [first, second] = preferred === undefined ? suitable : [preferred];
  if (first === undefined) throw nothingSuits(named, hasUser, grants.size > 0);
  if (second !== undefined) throw severalSuit(named, suitable);
  assertProfile(first);
  return first;
}

/** Those of its policy rows; what is open to all apps that registered themselves has to be named. */
async function findWithScopes(
  directory: Directory,
  clientId: string,
  grants: CachedGrants,
  named: readonly string[],
): Promise<Permitted[]> {
  const hasAll = (scopes: readonly string[]) => named.every((name) => scopes.includes(name));
  const identifiers = [...grants].flatMap(([identifier, { scopes }]) => (hasAll(scopes) ? [identifier] : []));
  const found = await Promise.all(identifiers.map((each) => findPermitted(directory, each, clientId)));
  // The resource server may have lost a scope that its row still has.
  return found.flatMap((each) => (each && hasAll([...scopesOf(each.scope)]) ? [each] : []));
}

function nothingSuits(named: readonly string[], hasUser: boolean, hasRows: boolean): Error {
  if (named.length > 0) {
    const scopes = named.join(' ');
    return new errors.InvalidScope(
      `no API that this client may call has all of these scopes: ${scopes}; ask the operator for a policy row, or send resource`,
      scopes,
    );
  }
  if (hasRows) {
    return new errors.InvalidTarget('this client may call no API without scope: send scope, or resource and scope');
  }
  return new errors.InvalidTarget(
    hasUser
      ? 'this client has no policy row: send scope=openid to sign a user in, name an API with resource, or ask the operator for a row'
      : 'this client may not call any API: ask the operator for a policy row',
  );
}

function severalSuit(named: readonly string[], candidates: readonly Permitted[]): Error {
  const description =
    named.length > 0
      ? 'several APIs that this client may call have these scopes: name one with resource'
      : 'this client may call several APIs: name one with resource, or send scopes that only one of them has';
  const identifiers = candidates.map(({ resourceServer }) => resourceServer.identifier);
  return new errors.InvalidTarget(description, `${description} (${identifiers.join(' ')})`);
}

function apiScopes(scope: string | undefined): string[] {
  return [...scopesOf(scope)].filter((name) => !OPENID_SCOPES.includes(name));
}

/** `offline_access` says for how long, and not what. */
export function namesScopes(scope: unknown): boolean {
  return [...scopesOf(scope)].some((name) => name !== 'offline_access');
}

/** Where a user's flow begins. The routes at which it goes on find what was decided in what was stored. */
const FIRST_REQUESTS: ReadonlySet<string> = new Set([
  ...['authorization', 'pushed_authorization_request', 'device_authorization'],
]);

export interface DefaultResource {
  /** @throws InvalidTarget, InvalidScope with what to change, where it is none or several */
  find(target: UnnamedTarget): Promise<Permitted>;
  /** Configuration `features.resourceIndicators.defaultResource`, for requests without `resource`. */
  ofRequest(
    ctx: KoaContextWithOIDC,
    client: Client,
    oneOf?: readonly string[],
  ): Promise<string | readonly string[] | undefined>;
}

export function createDefaultResource(deps: DefaultResourceDeps): DefaultResource {
  return {
    find: (target) => findDefault(deps, target),
    async ofRequest(ctx, { clientId }, oneOf) {
      if (oneOf !== undefined) return oneOf;
      const { route, params = {} } = ctx.oidc;
      const [named] = requestedResources(params);
      if (named !== undefined) return named;
      const scope = params.scope as string | undefined;
      // The engine asks before the grant does, when the request names authorization details.
      const isOwnToken = route === 'token' && params.grant_type === 'client_credentials';
      if (!isOwnToken && (!FIRST_REQUESTS.has(route) || (await isSignIn(deps, ctx, clientId, scope)))) return undefined;
      const { resourceServer } = await findDefault(deps, { clientId, scope, hasUser: !isOwnToken });
      if (!isOwnToken) storeAsUnderstood(ctx);
      return resourceServer.identifier;
    },
  };
}

/**
 * No API is meant: only claims about the user are asked for, or the client may call no API. OpenID
 * Connect Core §3.1.2.1 wants scopes that are not understood ignored.
 */
async function isSignIn(
  { directory, log }: DefaultResourceDeps,
  ctx: KoaContextWithOIDC,
  clientId: string,
  scope: string | undefined,
): Promise<boolean> {
  if (!namesScopes(scope)) return false;
  const named = apiScopes(scope);
  if (named.length === 0) return true;
  const grants = await directory.findGrants(clientId);
  if (!scopesOf(scope).has('openid') || (grants !== undefined && grants.size > 0)) return false;
  log.info(
    { request_id: ctx.get('x-request-id'), client_id: clientId, scopes: named },
    'scopes ignored: no policy row',
  );
  return true;
}
