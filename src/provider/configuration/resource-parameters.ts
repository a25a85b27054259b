// What an authorization, pushed or device request asks for, once the resource servers are found that
// it names or means (RFC 8707 §2): completed here before it is stored, and before anybody signs in.

import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { storeAsUnderstood } from '../engine-steps.ts';
import { namesScopes } from '../policy/default-resource.ts';
import { requestedResources } from '../policy/requested-resources.ts';
import { scopeOf, scopesOf } from '../policy/requested-scopes.ts';

/** Configuration `extraParams`. */
export function resourceParameters(adminResource: string): NonNullable<Configuration['extraParams']> {
  return {
    // The engine calls it whether or not the request has the parameter.
    resource(ctx) {
      nameAsRegistered(ctx);
      takeAudience(ctx);
      addPermittedScopes(ctx, adminResource);
      assertSomeScope(ctx);
    },
    audience: null,
  };
}

/**
 * A request may name a resource server in another spelling than it was registered in. From here on
 * it is named as it was registered: in the grant, in codes and tokens, where it is compared.
 */
function nameAsRegistered({ oidc }: KoaContextWithOIDC): void {
  const { params, resourceServers = {}, provider } = oidc;
  const found = Object.entries(resourceServers);
  if (params === undefined || found.every(([named, { audience }]) => audience === named)) return;
  for (const [named, info] of found) {
    delete resourceServers[named];
    const identifier = String(info.audience);
    resourceServers[identifier] = new provider.ResourceServer(identifier, info);
  }
  const identifiers = Object.keys(resourceServers);
  params.resource = Array.isArray(params.resource) ? identifiers : identifiers[0];
}

/** From here on it is `resource`. @throws InvalidTarget */
function takeAudience({ oidc: { params = {} } }: KoaContextWithOIDC): void {
  requestedResources(params);
  params.audience = undefined;
}

/**
 * RFC 6749 §3.3: without scope, those that the client may have, which the consent page then shows.
 * Authorization details say by themselves what is asked for.
 * @throws InvalidScope
 */
function addPermittedScopes(ctx: KoaContextWithOIDC, adminResource: string): void {
  const { params = {}, resourceServers = {} } = ctx.oidc;
  const { scope } = params;
  const found = Object.values(resourceServers);
  if (found.length === 0 || namesScopes(scope) || params.authorization_details !== undefined) return;
  if (Object.hasOwn(resourceServers, adminResource)) {
    throw new errors.InvalidScope('the scopes of this API must be named: send scope', '');
  }
  const permitted = found.flatMap((info) => [...scopesOf(info.scope)]);
  params.scope = scopeOf(new Set([...scopesOf(scope), ...permitted]));
  storeAsUnderstood(ctx);
}

/** The engine would refuse it after the sign-in, without a word. @throws InvalidScope */
function assertSomeScope({ oidc }: KoaContextWithOIDC): void {
  const { params = {}, resourceServers = {}, requestParamScopes, requestParamOIDCScopes } = oidc;
  if (params.authorization_details !== undefined || requestParamOIDCScopes.size > 0) return;
  const allowed = new Set(Object.values(resourceServers).flatMap((info) => [...scopesOf(info.scope)]));
  if ([...requestParamScopes].some((name) => allowed.has(name))) return;
  throw new errors.InvalidScope(
    'this client may have none of the requested scopes at the API that it names: ask the operator for a policy row with them',
    String(params.scope ?? ''),
  );
}
