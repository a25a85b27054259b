// Finds many resource servers, or the policy rows of many clients, with one statement: what is asked at every request.

import type { Query } from '../database/database.ts';
import {
  type AuthorizationDetailsTypes,
  canonicalSpelling,
  type ResourceServer,
  spellings,
} from './resource-server.ts';

export type KnownResourceServer = Pick<
  ResourceServer,
  | 'identifier'
  | 'name'
  | 'scopes'
  | 'accessTokenFormat'
  | 'accessTokenTtlSeconds'
  | 'introspectionClientId'
  | 'authorizationDetailsTypes'
>;

/** What one client may call: scopes by resource server, in the order of the identifiers. */
export type KnownGrants = ReadonlyMap<string, readonly string[]>;

const LOOKUP = {
  name: 'resource_server_lookup',
  text: `SELECT identifier, name, scopes, access_token_format, access_token_ttl_seconds, introspection_client_id,
           authorization_details_types
         FROM resource_servers WHERE identifier = ANY($1)`,
};

const GRANTS = {
  name: 'client_grant_lookup',
  text: `SELECT client_id, resource_server, scopes FROM client_grants WHERE client_id = ANY($1)
         ORDER BY client_id, resource_server`,
};

/** @returns one entry for each identifier, which may be spelt either way; undefined for one that does not exist */
export async function lookUpResourceServers(
  query: Query,
  identifiers: readonly string[],
): Promise<(KnownResourceServer | undefined)[]> {
  const { rows } = await query<{
    identifier: string;
    name: string;
    scopes: string[];
    access_token_format: 'jwt' | 'opaque';
    access_token_ttl_seconds: number | null;
    introspection_client_id: string | null;
    authorization_details_types: AuthorizationDetailsTypes;
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
    };
  });
}

/** @returns one entry for each client id; an empty map for a client without a row */
export async function lookUpGrants(query: Query, clientIds: readonly string[]): Promise<KnownGrants[]> {
  const { rows } = await query<{ client_id: string; resource_server: string; scopes: string[] }>(GRANTS, [clientIds]);
  const found = new Map<string, Map<string, readonly string[]>>();
  for (const row of rows) {
    const ofClient = found.get(row.client_id) ?? new Map<string, readonly string[]>();
    found.set(row.client_id, ofClient.set(row.resource_server, row.scopes));
  }
  return clientIds.map((clientId) => found.get(clientId) ?? new Map());
}
