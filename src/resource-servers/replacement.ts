// One resource server in the place of another: what the admin API needs when its audience changes.

import type { Query } from '../database/database.ts';
import type { ResourceServer } from './resource-server.ts';
import { RESOURCE_SERVER_COLUMNS, type ResourceServerRow, toResourceServer } from './store.ts';

const SQL = {
  listAlike: {
    name: 'resource_server_list_alike',
    text: `SELECT ${RESOURCE_SERVER_COLUMNS} FROM resource_servers
           WHERE name = $1 AND scopes = $2 AND right(identifier, length($3)) = $3 ORDER BY created_at DESC`,
  },
  moveGrants: {
    name: 'client_grant_move',
    text: `UPDATE client_grants g SET resource_server = $2, version = version + 1, updated_at = now()
           WHERE resource_server = $1 AND NOT EXISTS (
             SELECT 1 FROM client_grants o WHERE o.resource_server = $2 AND o.client_id = g.client_id)`,
  },
};

/** Those with this name, exactly these scopes and this end of the identifier; the newest first. */
export async function listAlike(
  query: Query,
  like: { readonly name: string; readonly scopes: readonly string[]; readonly suffix: string },
): Promise<ResourceServer[]> {
  const { rows } = await query<ResourceServerRow>(SQL.listAlike, [like.name, like.scopes, like.suffix]);
  return rows.map(toResourceServer);
}

/** Makes policy rows for one resource server those for another, except of clients that have one for it. */
export async function moveGrants(query: Query, from: string, to: string): Promise<void> {
  await query(SQL.moveGrants, [from, to]);
}
