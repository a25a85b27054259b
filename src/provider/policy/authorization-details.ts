// Rich authorization requests (RFC 9396): which details a client may ask for, which of them a token
// gets, and which a resource server sees. Resource servers declare the types while the server runs
// (resource-servers/routes), so they are looked up at every request, and again where details are
// issued or introspected: a type that was removed is in no token any more.

import { isDeepStrictEqual } from 'node:util';
import type { Middleware } from 'koa';
import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { type AuthorizationDetail, whyDetailFails } from '../../resource-servers/authorization-details.ts';
import type { DeclaredTypes } from '../../resource-servers/declared-types.ts';
import { isSameIdentifier } from '../../resource-servers/identifier.ts';
import type { CachedResourceServer } from '../../resource-servers/lookup.ts';
import type { Directory } from './directory.ts';
import { requestedResources } from './requested-resources.ts';
import { findPermitted } from './resource-server-policy.ts';

/**
 * Configuration `features.richAuthorizationRequests`. A class, because the engine copies plain
 * objects.
 */
export class RichAuthorizationRequests {
  readonly enabled = true;
  readonly types: Record<string, object>;
  readonly authorizationDetailsForGrantSource: (ctx: KoaContextWithOIDC) => Promise<AuthorizationDetail[]>;
  /** Not called: grants and introspection are ours, and ask `detailsForToken`. */
  readonly authorizationDetailsForAccessToken = async () => [];
  readonly authorizationDetailsForIntrospection = async () => [];

  constructor(directory: Directory) {
    this.types = everyType({
      validate: (ctx: KoaContextWithOIDC, detail: AuthorizationDetail, client: Client) =>
        assertAllowed(directory, ctx, detail, client),
    });

    // The user has just been asked for exactly what this request names (the engine's check
    // `rar_prompt`).
    this.authorizationDetailsForGrantSource = async (ctx) => {
      const granted = ctx.oidc.grant?.rar ?? [];
      const requested = requestedDetails(ctx.oidc.params?.authorization_details);
      return requested.filter((detail) => granted.some((other) => isDeepStrictEqual(other, detail)));
    };
  }
}

/**
 * The details of an access token for this resource server. RFC 9396 §6.1: what a code or refresh
 * token holds may be narrowed at the token endpoint, not widened; one that holds no details was
 * given without any.
 * @throws InvalidAuthorizationDetails
 */
export function detailsForToken(
  resourceServer: CachedResourceServer | undefined,
  { requested, granted }: Readonly<Record<'requested' | 'granted', readonly AuthorizationDetail[]>>,
): AuthorizationDetail[] | undefined {
  if (requested.some((detail) => !granted.some((other) => isDeepStrictEqual(other, detail)))) {
    throw new errors.InvalidAuthorizationDetails('authorization_details exceed what was granted');
  }
  const details = declaredBy(resourceServer, requested.length > 0 ? requested : granted);
  return details.length === 0 ? undefined : details;
}

/** Those of a token that this resource server still declares. */
export function detailsForIntrospection(
  resourceServer: CachedResourceServer | undefined,
  details: readonly AuthorizationDetail[],
): AuthorizationDetail[] | undefined {
  return detailsForToken(resourceServer, { requested: [], granted: details });
}

/** The parameter, whose syntax the engine has checked. */
export function requestedDetails(parameter: unknown): AuthorizationDetail[] {
  return typeof parameter === 'string' ? JSON.parse(parameter) : [];
}

/**
 * RFC 9396 §10: names the types that are declared now, where the engine has an empty list.
 * @param body of any answer; only that of a discovery document is changed
 */
export function nameDetailsTypes(body: unknown, types: readonly string[]): void {
  const metadata = body as { authorization_details_types_supported?: readonly string[] } | undefined;
  if (metadata?.authorization_details_types_supported !== undefined) {
    metadata.authorization_details_types_supported = types;
  }
}

/** The same for a discovery document that the engine's own pipeline has made. */
export function declaredDetailsTypes(types: Pick<DeclaredTypes, 'current'>): Middleware {
  return async (ctx, next) => {
    await next();
    if (ctx.path.startsWith('/.well-known/')) nameDetailsTypes(ctx.body, types.current());
  };
}

/** @throws InvalidAuthorizationDetails (RFC 9396 §5) */
async function assertAllowed(
  directory: Directory,
  ctx: KoaContextWithOIDC,
  detail: AuthorizationDetail,
  client: Client,
): Promise<void> {
  const named = requestedResources(ctx.oidc.params ?? {});
  if (named.length === 0 && ctx.oidc.route !== 'token') {
    throw new errors.InvalidAuthorizationDetails('name the resource server that the details are for with resource');
  }
  const identifiers = named.length > 0 ? named : [...((await directory.findGrants(client.clientId))?.keys() ?? [])];
  const permitted = await Promise.all(identifiers.map((each) => findPermitted(directory, each, client.clientId)));
  const declaring = permitted.flatMap((each) =>
    each !== undefined && declaredBy(each.resourceServer, [detail]).length > 0 ? [each.resourceServer] : [],
  );
  if (declaring.length === 0) {
    throw new errors.InvalidAuthorizationDetails(
      `the resource server has no authorization details type ${detail.type}`,
    );
  }
  // Several may have a type of this name. A token for each of them carries the detail, so each must
  // understand it.
  for (const { authorizationDetailsTypes } of declaring) {
    const type = authorizationDetailsTypes[detail.type];
    const fault = type && whyDetailFails(type, detail);
    if (fault !== undefined) throw new errors.InvalidAuthorizationDetails(`${detail.type}: ${fault}`);
  }
}

/** The details that are meant for this resource server and are of a type that it declares. */
function declaredBy(
  resourceServer: CachedResourceServer | undefined,
  details: readonly AuthorizationDetail[],
): AuthorizationDetail[] {
  if (resourceServer === undefined) return [];
  const { identifier, authorizationDetailsTypes } = resourceServer;
  return details.filter(
    ({ type, locations }) =>
      Object.hasOwn(authorizationDetailsTypes, type) &&
      (locations?.some((location) => isSameIdentifier(location, identifier)) ?? true),
  );
}

/**
 * The engine asks with `Object.hasOwn` for the type of each detail, and lists the types with
 * `Object.keys`: this object has every type and lists none. If the engine asks in another way, it
 * refuses all details.
 */
function everyType(type: object): Record<string, object> {
  return new Proxy<Record<string, object>>(
    {},
    {
      get: (target, name) => (typeof name === 'string' && !(name in target) ? type : Reflect.get(target, name)),
      getOwnPropertyDescriptor: (target, name) =>
        typeof name === 'string' && !(name in target)
          ? { configurable: true, enumerable: true, writable: false, value: type }
          : undefined,
    },
  );
}
