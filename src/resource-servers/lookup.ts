// Finds many resource servers, or the policy rows of many clients, with one statement: what is asked at every request.

import type { Query } from '../database/database.ts';
import {
  type AuthorizationDetailsTypes,
  type ClientGrantInput,
  canonicalSpelling,
  type ResourceServer,
  type StoredDelegation,
  spellings,
  toDelegation,
} from './resource-server.ts';

export type CachedResourceServer = Pick<
  ResourceServer,
  | 'identifier'
  | 'name'
  | 'scopes'
  | 'accessTokenFormat'
  | 'accessTokenTtlSeconds'
  | 'introspectionClientId'
  | 'authorizationDetailsTypes'
  | 'delegation'
  | 'selfRegisteredScopes'
>;

/** What one client may call, by resource server, in the order of the identifiers. */
export type CachedGrants = ReadonlyMap<string, CachedGrant>;
export type CachedGrant = ClientGrantInput;

const LOOKUP = {
  name: 'resource_server_lookup',
  text: `SELECT identifier, name, scopes, access_token_format, access_token_ttl_seconds, introspection_client_id,
           authorization_details_types, delegation, self_registered_scopes
         FROM resource_servers WHERE identifier = ANY($1)`,
};

const GRANTS = {
  name: 'client_grant_lookup',
  text: `SELECT client_id, resource_server, scopes, token_exchange, may_act FROM client_grants WHERE client_id = ANY($1)
         ORDER BY client_id, resource_server`,
};

/** @returns one entry for each identifier, which may be spelt either way; undefined for one that does not exist */
export async function lookUpResourceServers(
  query: Query,
  identifiers: readonly string[],
): Promise<(CachedResourceServer | undefined)[]> {
  const { rows } = await query<{
    identifier: string;
    name: string;
    scopes: string[];
    access_token_format: 'jwt' | 'opaque';
    access_token_ttl_seconds: number | null;
    introspection_client_id: string | null;
    authorization_details_types: AuthorizationDetailsTypes;
    delegation: StoredDelegation | null;
    self_registered_scopes: string[] | null;
  }>(LOOKUP, [identifiers.flatMap(spellings)]);
  const found = new Map(rows.map((row) => [canonicalSpelling(row.identifier), row]));
  return identifiers.map((identifier) => {
    const row = found.get(canonicalSpelling(identifier));
    if (row === undefined) return undefined;
    return {
      identifier: row.identifier,
      name: row.name,
      scopes: row.scopes,
      accessTokenFormat: row.access_token_format,
      accessTokenTtlSeconds: row.access_token_ttl_seconds ?? undefined,
      introspectionClientId: row.introspection_client_id ?? undefined,
      authorizationDetailsTypes: row.authorization_details_types,
      delegation: toDelegation(row.delegation),
      selfRegisteredScopes: row.self_registered_scopes ?? undefined,
    };
  });
}

/** @returns one entry for each client id; an empty map for a client without a row */
export async function lookUpGrants(query: Query, clientIds: readonly string[]): Promise<CachedGrants[]> {
  const { rows } = await query<{
    client_id: string;
    resource_server: string;
    scopes: string[];
    token_exchange: boolean;
    may_act: string | null;
  }>(GRANTS, [clientIds]);
  const found = new Map<string, Map<string, CachedGrant>>();
  for (const { client_id, resource_server, scopes, token_exchange: mayExchange, may_act } of rows) {
    const ofClient = found.get(client_id) ?? new Map<string, CachedGrant>();
    found.set(client_id, ofClient.set(resource_server, { scopes, mayExchange, mayActClientId: may_act ?? undefined }));
  }
  return clientIds.map((clientId) => found.get(clientId) ?? new Map());
}

/**
 * What a client may do at a resource server: its policy row, else what that grants to software that registered itself.
 * @returns undefined: nothing
 */
export function grantAt(
  resourceServer: CachedResourceServer,
  grants: CachedGrants | undefined,
  isSelfRegistered: boolean,
): CachedGrant | undefined {
  const { identifier, selfRegisteredScopes: scopes } = resourceServer;
  const granted = grants?.get(identifier);
  if (granted !== undefined || !isSelfRegistered || scopes === undefined) return granted;
  return { scopes, mayExchange: false, mayActClientId: undefined };
}
