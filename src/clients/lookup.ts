// Finds many clients with one statement: what the engine and introspection need to know of them at
// every request.

import type { Query } from '../database/database.ts';
import type { Client } from './client.ts';
import type { StoredSecret } from './secret.ts';
import { CLIENT_COLUMNS, type ClientRow, toClient } from './store.ts';

export interface CachedClient extends Client {
  /** what was issued before is void; milliseconds since 1970 */
  readonly tokensNotBefore: number;
  /** may have expired since they were read */
  readonly secrets: readonly StoredSecret[];
}

interface Row extends ClientRow {
  tokens_not_before: Date | null;
  secrets: { id: string; hash: string; expires_at: string | null }[];
}

const LOOKUP = {
  name: 'client_lookup',
  text: `SELECT ${CLIENT_COLUMNS}, tokens_not_before,
           coalesce((SELECT json_agg(json_build_object('id', s.id, 'hash', s.hash, 'expires_at', s.expires_at)
                                     ORDER BY s.created_at DESC, s.id)
                     FROM client_secrets s
                     WHERE s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > now())), '[]') AS secrets
         FROM clients c WHERE c.client_id = ANY($1)`,
};

/** @returns one entry for each id, in their order; undefined for a client that does not exist */
export async function lookUpClients(query: Query, clientIds: readonly string[]): Promise<(CachedClient | undefined)[]> {
  const { rows } = await query<Row>(LOOKUP, [clientIds]);
  const found = new Map(rows.map((row) => [row.client_id, toCachedClient(row)]));
  return clientIds.map((clientId) => found.get(clientId));
}

function toCachedClient(row: Row): CachedClient {
  return {
    ...toClient(row),
    tokensNotBefore: row.tokens_not_before?.getTime() ?? Number.NEGATIVE_INFINITY,
    secrets: row.secrets.map(({ id, hash, expires_at }) => ({
      id,
      hash,
      expiresAt: expires_at === null ? undefined : new Date(expires_at),
    })),
  };
}
