// Rows of `resource_servers`, and the one mapping from each to its value. The policy rows: grant-store.ts.

import type { Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import { notFound } from '../errors.ts';
import type { AccessTokenType } from '../guard/access-token-type.ts';
import type { AccessTokenAlgorithm } from './access-token-signing.ts';
import { normalForm, spellings } from './identifier.ts';
import {
  type AuthorizationDetailsTypes,
  fromDelegation,
  type ResourceServer,
  type ResourceServerInput,
  type StoredDelegation,
  toDelegation,
} from './resource-server.ts';

export interface ResourceServerRow {
  identifier: string;
  name: string;
  scopes: string[];
  access_token_format: 'jwt' | 'opaque';
  access_token_signing_alg: AccessTokenAlgorithm;
  access_token_typ: AccessTokenType;
  access_token_ttl_seconds: number | null;
  introspection_client_id: string | null;
  authorization_details_types: AuthorizationDetailsTypes;
  delegation: StoredDelegation | null;
  self_registered_scopes: string[] | null;
  userinfo: boolean;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export const RESOURCE_SERVER_COLUMNS = `identifier, name, scopes, access_token_format, access_token_signing_alg, access_token_typ,
  access_token_ttl_seconds, introspection_client_id, authorization_details_types, delegation, self_registered_scopes, userinfo,
  version, created_at, updated_at`;
const SQL = {
  find: {
    name: 'resource_server_find',
    text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE identifier = ANY($2) OR normal_identifier = $3
           ORDER BY identifier = $1 DESC, normal_identifier IS NOT NULL LIMIT 1`,
  },
  lock: {
    name: 'resource_server_lock',
    text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE identifier = $1 FOR UPDATE`,
  },
  list: {
    name: 'resource_server_list',
    text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers WHERE $1::text IS NULL OR identifier > $1 ORDER BY identifier LIMIT $2`,
  },
  insert: {
    name: 'resource_server_insert',
    text: `INSERT INTO resource_servers
             (identifier, name, scopes, access_token_format, access_token_ttl_seconds, introspection_client_id,
              authorization_details_types, delegation, self_registered_scopes, access_token_signing_alg, access_token_typ, userinfo)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING RETURNING ${RESOURCE_SERVER_COLUMNS}`,
  },
  update: {
    name: 'resource_server_update',
    text: `UPDATE resource_servers SET name = $2, scopes = $3, access_token_format = $4, access_token_ttl_seconds = $5,
             introspection_client_id = $6, authorization_details_types = $7, delegation = $8,
             self_registered_scopes = $9, access_token_signing_alg = $10, access_token_typ = $11, userinfo = $12,
             version = version + 1, updated_at = now()
           WHERE identifier = $1 RETURNING ${RESOURCE_SERVER_COLUMNS}`,
  },
  listDetailsTypes: {
    name: 'authorization_details_types',
    text: `SELECT DISTINCT type FROM resource_servers, jsonb_object_keys(authorization_details_types) AS type
           ORDER BY type`,
  },
  // Its key, or the one that takes its place, is there for good: keys/rotation.
  hasKey: {
    name: 'resource_server_has_key',
    text: 'SELECT 1 FROM signing_keys WHERE alg = $1 AND published AND (remove_at IS NULL OR remove_at > now()) LIMIT 1',
  },
  remove: { name: 'resource_server_remove', text: 'DELETE FROM resource_servers WHERE identifier = $1' },
};

export function toResourceServer(row: ResourceServerRow): ResourceServer {
  return {
    identifier: row.identifier,
    name: row.name,
    scopes: row.scopes,
    accessTokenFormat: row.access_token_format,
    accessTokenAlgorithm: row.access_token_signing_alg,
    accessTokenType: row.access_token_typ,
    accessTokenTtlSeconds: row.access_token_ttl_seconds ?? undefined,
    introspectionClientId: row.introspection_client_id ?? undefined,
    authorizationDetailsTypes: row.authorization_details_types,
    delegation: toDelegation(row.delegation),
    selfRegisteredScopes: row.self_registered_scopes ?? undefined,
    acceptedAtUserinfo: row.userinfo,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** In whatever spelling; one that is registered exactly like that comes first. */
export async function findResourceServer(query: Query, identifier: string): Promise<ResourceServer | undefined> {
  const form = normalForm(identifier);
  const names = [...spellings(identifier), ...spellings(form)];
  const { rows } = await query<ResourceServerRow>(SQL.find, [identifier, names, form]);
  return rows[0] && toResourceServer(rows[0]);
}

/** @throws AppError `not_found` */
export async function getResourceServer(query: Query, identifier: string): Promise<ResourceServer> {
  const resourceServer = await findResourceServer(query, identifier);
  if (resourceServer === undefined) throw notFound(`resource server ${identifier}`);
  return resourceServer;
}

/** Locks the row until the transaction ends. @throws AppError `not_found` */
export async function lockResourceServer(query: Query, identifier: string): Promise<ResourceServer> {
  const { rows } = await query<ResourceServerRow>(SQL.lock, [identifier]);
  if (rows[0] === undefined) throw notFound(`resource server ${identifier}`);
  return toResourceServer(rows[0]);
}

/** @returns up to `limit` + 1, by identifier */
export async function listResourceServers(
  query: Query,
  page: { after: string | undefined; limit: number },
): Promise<ResourceServer[]> {
  const { rows } = await query<ResourceServerRow>(SQL.list, [page.after ?? null, page.limit + 1]);
  return rows.map(toResourceServer);
}

/** The types of authorization details that any of them declares, in their order. */
export async function listDetailsTypes(query: Query): Promise<string[]> {
  const { rows } = await query<{ type: string }>(SQL.listDetailsTypes, []);
  return rows.map(({ type }) => type);
}

/** @returns undefined if the identifier is taken */
export async function insertResourceServer(
  query: Query,
  identifier: string,
  input: ResourceServerInput,
): Promise<ResourceServer | undefined> {
  const { rows } = await query<ResourceServerRow>(SQL.insert, toValues(identifier, input));
  return rows[0] && toResourceServer(rows[0]);
}

export async function updateResourceServer(
  query: Query,
  identifier: string,
  input: ResourceServerInput,
): Promise<ResourceServer> {
  return toResourceServer(oneRow(await query<ResourceServerRow>(SQL.update, toValues(identifier, input))));
}

function toValues(identifier: string, input: ResourceServerInput): unknown[] {
  return [
    identifier,
    input.name,
    input.scopes,
    input.accessTokenFormat,
    input.accessTokenTtlSeconds ?? null,
    input.introspectionClientId ?? null,
    JSON.stringify(input.authorizationDetailsTypes),
    input.delegation === undefined ? null : JSON.stringify(fromDelegation(input.delegation)),
    input.selfRegisteredScopes ?? null,
    input.accessTokenAlgorithm,
    input.accessTokenType,
    input.acceptedAtUserinfo,
  ];
}

export async function removeResourceServer(query: Query, identifier: string): Promise<void> {
  await query(SQL.remove, [identifier]);
}

/** Whether this installation has a key for it that is published. */
export async function canSignWith(query: Query, algorithm: AccessTokenAlgorithm): Promise<boolean> {
  return (await query(SQL.hasKey, [algorithm])).rows.length === 1;
}
