// Idle clients: registered dynamically, and without a token for a long time. The list (GET
// /admin/v1/idle-clients) names exactly the clients that the removal would remove, for operators to
// look at first.

import type { Database, Query } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import { startPeriodicTask } from '../../periodic-task.ts';

/** One removal is one transaction, which must be short. */
const BATCH = 100;
const INTERVAL_MS = 3_600_000;

/** Disabled clients stay: one with a metadata document would be added again, and be enabled. */
const IDLE = `registered_by <> 'admin' AND disabled_at IS NULL
  AND greatest(created_at, (SELECT last_used_at FROM client_uses u WHERE u.client_id = clients.client_id))
      < now() - make_interval(days => $1)`;

const SQL = {
  list: {
    name: 'idle_client_list',
    text: `SELECT client_id, name, registered_by, created_at,
             (SELECT last_used_at FROM client_uses u WHERE u.client_id = clients.client_id) AS last_used_at
           FROM clients WHERE ${IDLE} AND ($2::text IS NULL OR client_id > $2) ORDER BY client_id LIMIT $3`,
  },
  // With its codes, tokens and grants, and an audit event, in one statement. Rows that another node
  // is removing are skipped.
  remove: {
    name: 'idle_client_remove',
    text: `WITH idle AS (
             SELECT client_id, registered_by FROM clients WHERE ${IDLE} ORDER BY client_id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED
           ), artifacts AS (
             DELETE FROM oidc_artifacts WHERE client_id IN (SELECT client_id FROM idle)
           ), removed AS (
             DELETE FROM clients WHERE client_id IN (SELECT client_id FROM idle)
           )
           INSERT INTO audit_events (type, actor, client_id, detail)
           SELECT 'client.idle_removed', 'system', client_id, jsonb_build_object('registered_by', registered_by) FROM idle
           RETURNING client_id`,
  },
  use: {
    name: 'client_use',
    text: `INSERT INTO client_uses (client_id, last_used_at) SELECT client_id, now() FROM clients WHERE client_id = $1
           ON CONFLICT (client_id) DO UPDATE SET last_used_at = now()`,
  },
};

export interface IdleClient {
  readonly clientId: string;
  readonly name: string;
  readonly registeredBy: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | undefined;
}

/** @returns up to `limit` + 1 */
export async function listIdleClients(
  query: Query,
  days: number,
  page: { after: string | undefined; limit: number },
): Promise<IdleClient[]> {
  const { rows } = await query<{
    client_id: string;
    name: string;
    registered_by: string;
    created_at: Date;
    last_used_at: Date | null;
  }>(SQL.list, [days, page.after ?? null, page.limit + 1]);
  return rows.map((row) => ({
    clientId: row.client_id,
    name: row.name,
    registeredBy: row.registered_by,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
  }));
}

/** @returns the ids of the removed clients; `hasMore` when the batch was full */
export async function removeIdleClients(
  query: Query,
  days: number,
): Promise<{ clientIds: string[]; hasMore: boolean }> {
  const { rows } = await query<{ client_id: string }>(SQL.remove, [days]);
  return { clientIds: rows.map((row) => row.client_id), hasMore: rows.length === BATCH };
}

/** Records that a client got a token. */
export async function noteClientUse(query: Query, clientId: string): Promise<void> {
  await query(SQL.use, [clientId]);
}

/** @returns a function that stops it, after the batch in progress */
export function startIdleClientRemoval(database: Database, idleDays: number, log: Log): () => Promise<void> {
  return startPeriodicTask(
    async (signal) => {
      for (let hasMore = true; hasMore && !signal.aborted; ) {
        const removed = await removeIdleClients(database.query, idleDays);
        if (removed.clientIds.length > 0) log.info({ client_ids: removed.clientIds }, 'idle clients removed');
        ({ hasMore } = removed);
      }
    },
    { intervalMs: INTERVAL_MS, onError: (error) => log.warn({ error }, 'idle clients could not be removed') },
  );
}
