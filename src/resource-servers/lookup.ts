// Finds many resource servers, or the policy rows of many clients, with one statement: what every
// request needs.

import type { Query } from '../database/database.ts';
import { GRANT_COLUMNS, type GrantRow, toGrant } from './grant-store.ts';
import { canonicalSpelling, normalForm, spellings } from './identifier.ts';
import type { ClientGrantInput, ResourceServer } from './resource-server.ts';
import { RESOURCE_SERVER_COLUMNS, type ResourceServerRow, toResourceServer } from './store.ts';

export type CachedResourceServer = ResourceServer;

/** What one client may call, by resource server, in the order of the identifiers. */
export type CachedGrants = ReadonlyMap<string, CachedGrant>;
export type CachedGrant = ClientGrantInput;

const LOOKUP = {
  name: 'resource_server_lookup',
  text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE identifier = ANY($1)`,
};

const BY_NORMAL_FORM = {
  name: 'resource_server_lookup_normal',
  text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE normal_identifier = ANY($2)
         UNION ALL SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE identifier = ANY($1)`,
};

const GRANTS = {
  name: 'client_grant_lookup',
  text: `SELECT ${GRANT_COLUMNS} FROM client_grants WHERE client_id = ANY($1) ORDER BY client_id, resource_server`,
};

/** @returns one entry for each identifier, in either spelling; undefined if it does not exist */
export async function lookUpResourceServers(
  query: Query,
  identifiers: readonly string[],
): Promise<(CachedResourceServer | undefined)[]> {
  const { rows } = await query<ResourceServerRow>(LOOKUP, [identifiers.flatMap(spellings)]);
  const found = new Map(rows.map((row) => [canonicalSpelling(row.identifier), toResourceServer(row)]));
  return identifiers.map((identifier) => found.get(canonicalSpelling(identifier)));
}

/**
 * @param forms normal forms
 * @returns one entry for each, in whatever spelling it was registered; undefined if it does not exist
 */
export async function lookUpByNormalForm(
  query: Query,
  forms: readonly string[],
): Promise<(CachedResourceServer | undefined)[]> {
  const { rows } = await query<ResourceServerRow>(BY_NORMAL_FORM, [forms.flatMap(spellings), forms]);
  // Of two, the one that is registered in its normal form.
  const found = new Map(rows.map((row) => [normalForm(row.identifier), toResourceServer(row)]));
  return forms.map((form) => found.get(form));
}

/** @returns one entry for each client id; an empty map for a client without a row */
export async function lookUpGrants(query: Query, clientIds: readonly string[]): Promise<CachedGrants[]> {
  const { rows } = await query<GrantRow>(GRANTS, [clientIds]);
  const found = new Map<string, Map<string, CachedGrant>>();
  for (const grant of rows.map(toGrant)) {
    const ofClient = found.get(grant.clientId) ?? new Map<string, CachedGrant>();
    found.set(grant.clientId, ofClient.set(grant.resourceServer, grant));
  }
  return clientIds.map((clientId) => found.get(clientId) ?? new Map());
}

/**
 * What a client may do at a resource server: its policy row, or else what is granted to dynamically
 * registered clients.
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
