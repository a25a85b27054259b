// Rows of `client_grants`, the policy, and the mapping from each to its value.

import type { Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import { notFound } from '../errors.ts';
import type { ClientGrant, ClientGrantInput } from './resource-server.ts';

export interface GrantRow {
  client_id: string;
  resource_server: string;
  scopes: string[];
  token_exchange: boolean;
  may_act: string | null;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export const GRANT_COLUMNS =
  'client_id, resource_server, scopes, token_exchange, may_act, version, created_at, updated_at';

const SQL = {
  find: {
    name: 'client_grant_find',
    text: `SELECT ${GRANT_COLUMNS} FROM client_grants WHERE resource_server = $1 AND client_id = $2`,
  },
  list: {
    name: 'client_grant_list',
    text: `SELECT ${GRANT_COLUMNS} FROM client_grants
           WHERE resource_server = $1 AND ($2::text IS NULL OR client_id > $2) ORDER BY client_id LIMIT $3`,
  },
  set: {
    name: 'client_grant_set',
    text: `INSERT INTO client_grants (client_id, resource_server, scopes, token_exchange, may_act)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (client_id, resource_server) DO UPDATE SET scopes = EXCLUDED.scopes,
             token_exchange = EXCLUDED.token_exchange, may_act = EXCLUDED.may_act,
             version = client_grants.version + 1, updated_at = now()
           RETURNING ${GRANT_COLUMNS}`,
  },
  remove: {
    name: 'client_grant_remove',
    text: 'DELETE FROM client_grants WHERE resource_server = $1 AND client_id = $2',
  },
  clientExists: { name: 'client_exists', text: 'SELECT 1 FROM clients WHERE client_id = $1 FOR KEY SHARE' },
};

export function toGrant(row: GrantRow): ClientGrant {
  return {
    clientId: row.client_id,
    resourceServer: row.resource_server,
    scopes: row.scopes,
    mayExchange: row.token_exchange,
    mayActClientId: row.may_act ?? undefined,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export async function findGrant(query: Query, identifier: string, clientId: string): Promise<ClientGrant | undefined> {
  const { rows } = await query<GrantRow>(SQL.find, [identifier, clientId]);
  return rows[0] && toGrant(rows[0]);
}

/** @throws AppError `not_found` */
export async function getGrant(query: Query, identifier: string, clientId: string): Promise<ClientGrant> {
  const grant = await findGrant(query, identifier, clientId);
  if (grant === undefined) throw notFound(`grant of client ${clientId} at ${identifier}`);
  return grant;
}

/** @returns up to `limit` + 1, by client_id */
export async function listGrants(
  query: Query,
  identifier: string,
  page: { after: string | undefined; limit: number },
): Promise<ClientGrant[]> {
  const { rows } = await query<GrantRow>(SQL.list, [identifier, page.after ?? null, page.limit + 1]);
  return rows.map(toGrant);
}

export async function setGrant(
  query: Query,
  identifier: string,
  clientId: string,
  { scopes, mayExchange, mayActClientId }: ClientGrantInput,
): Promise<ClientGrant> {
  const values = [clientId, identifier, scopes, mayExchange, mayActClientId ?? null];
  return toGrant(oneRow(await query<GrantRow>(SQL.set, values)));
}

export async function removeGrant(query: Query, identifier: string, clientId: string): Promise<void> {
  await query(SQL.remove, [identifier, clientId]);
}

/** Whether a client exists. It cannot be removed before the transaction ends. */
export async function clientExists(query: Query, clientId: string): Promise<boolean> {
  return (await query(SQL.clientExists, [clientId])).rows.length === 1;
}
