// A request may name a resource server in another spelling than it was registered in. From here on it
// is named as it was registered: in the grant, in codes and tokens, where it is compared.

import type { KoaContextWithOIDC } from 'oidc-provider';

/**
 * Configuration `extraParams.resource`: what the engine calls for each authorization, pushed and device
 * request, when it has found the resource servers (RFC 8707 §2) and before it stores the request.
 */
export function nameAsRegistered({ oidc }: KoaContextWithOIDC): void {
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
