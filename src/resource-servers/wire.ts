// A resource server as the admin API shows it.

import { fromDelegation, type ResourceServer } from './resource-server.ts';

/** `null`: not set */
export function toWire(server: ResourceServer) {
  return {
    identifier: server.identifier,
    name: server.name,
    scopes: server.scopes,
    access_token_format: server.accessTokenFormat,
    access_token_signing_alg: server.accessTokenAlgorithm,
    access_token_typ: server.accessTokenType,
    access_token_ttl_seconds: server.accessTokenTtlSeconds ?? null,
    introspection_client_id: server.introspectionClientId ?? null,
    authorization_details_types: server.authorizationDetailsTypes,
    delegation: fromDelegation(server.delegation),
    self_registered_clients: server.selfRegisteredScopes === undefined ? null : { scopes: server.selfRegisteredScopes },
    userinfo: server.acceptedAtUserinfo,
    created_at: server.createdAt.toISOString(),
    updated_at: server.updatedAt.toISOString(),
  };
}
