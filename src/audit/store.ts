// Reads the audit log, newest first.

import type { Query } from '../database/database.ts';

export interface StoredAuditEvent {
  readonly id: string;
  readonly at: Date;
  readonly type: string;
  readonly actor: string;
  readonly clientId: string | null;
  readonly accountId: string | null;
  readonly requestId: string | null;
  readonly detail: Record<string, unknown>;
}

export interface AuditFilter {
  readonly type?: string | undefined;
  readonly actor?: string | undefined;
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

interface Row {
  id: string;
  at: Date;
  type: string;
  actor: string;
  client_id: string | null;
  account_id: string | null;
  request_id: string | null;
  detail: Record<string, unknown>;
}

/**
 * Without a name, so that PostgreSQL plans it for the given filters: a generic plan uses no index.
 * `ORDER BY audit_events.id` is the number; plain `id` would be the text that is selected.
 *
 * Ids rise with time only roughly, because `at` is the start of the transaction. The bounds on the
 * id keep newer events from being read; an event whose transaction took over a minute is missed.
 */
const LIST = {
  name: '',
  text: `SELECT id::text, at, type, actor, client_id, account_id, request_id, detail FROM audit_events
         WHERE ($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR actor = $2)
           AND ($3::text IS NULL OR client_id = $3) AND ($4::text IS NULL OR account_id = $4)
           AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
           AND ($7::bigint IS NULL OR id < $7)
           AND ($5::timestamptz IS NULL OR id >= (
             SELECT id FROM audit_events WHERE at >= $5 - interval '1 minute' ORDER BY at LIMIT 1))
           AND ($6::timestamptz IS NULL OR id <= (
             SELECT id FROM audit_events WHERE at < $6 + interval '1 minute' ORDER BY at DESC LIMIT 1))
         ORDER BY audit_events.id DESC LIMIT $8`,
};

/** @returns up to `limit` + 1 events before `beforeId`, newest first */
export async function listAuditEvents(
  query: Query,
  filter: AuditFilter,
  page: { limit: number; beforeId: string | undefined },
): Promise<StoredAuditEvent[]> {
  const { rows } = await query<Row>(LIST, [
    filter.type ?? null,
    filter.actor ?? null,
    filter.clientId ?? null,
    filter.accountId ?? null,
    filter.since ?? null,
    filter.until ?? null,
    page.beforeId ?? null,
    page.limit + 1,
  ]);
  return rows.map((row) => ({
    id: row.id,
    at: row.at,
    type: row.type,
    actor: row.actor,
    clientId: row.client_id,
    accountId: row.account_id,
    requestId: row.request_id,
    detail: row.detail,
  }));
}
