// What the pruner removes: one statement per table. Partitions of `oidc_artifacts` are swept one by one; a statement on the
// parent would look for its rows in all of them and join them again by (model, id).

import type { Statement } from '../database/database.ts';
import { ARTIFACT_PARTITIONS } from '../provider/storage/partitions.ts';

/** Rows are kept for an hour after their expiry, which is longer than any clock tolerance. */
const GRACE_SECONDS = 3_600;
/** Of pushed requests and device codes, which are large, short-lived, and may be stored by strangers. */
const SHORT_GRACE_SECONDS = 300;
const DAY_SECONDS = 86_400;

/** A consumed refresh token keeps its own expiry, so a replay is detected for as long as the token would have been valid. */
export const PRUNED_TABLES = [
  ...ARTIFACT_PARTITIONS,
  'revoked_tokens',
  'replay_guard',
  'device_polls',
  'client_secrets',
  'initial_access_tokens',
  'login_throttle',
  'readiness_probes',
  'change_log',
  'audit_events',
] as const;

export type PrunedTable = (typeof PRUNED_TABLES)[number];

export interface Retention {
  /** 7 or more, which the schema enforces; undefined: audit events are kept for ever */
  readonly auditRetentionDays?: number | undefined;
}

/** @returns how long after its instant (see `instantOf`) a row is removed; undefined: never */
export function keptSeconds(table: PrunedTable, { auditRetentionDays }: Retention): number | undefined {
  if (table === 'oidc_artifacts_other') return SHORT_GRACE_SECONDS;
  if (table !== 'audit_events') return GRACE_SECONDS;
  return auditRetentionDays === undefined ? undefined : auditRetentionDays * DAY_SECONDS;
}

/** The result of a batch; instants in seconds since 1970, null when no row was removed. */
export interface Batch {
  readonly removed: number;
  readonly oldest: number | null;
  readonly newest: number | null;
  readonly now: number;
}

/** How a table stores the instant that decides about a row, mostly its expiry. */
interface Instant {
  readonly column: string;
  readonly fromSeconds: (seconds: string) => string;
  readonly toSeconds: (value: string) => string;
  /** added to the WHERE clause */
  readonly condition?: string;
}

const EXPIRY: Instant = {
  column: 'expires_at',
  fromSeconds: (seconds) => `to_timestamp(${seconds})`,
  toSeconds: (value) => `extract(epoch FROM ${value})::float8`,
};
/** rate-limiter-flexible chose milliseconds since 1970. */
const THROTTLE_EXPIRY: Instant = {
  column: 'expire',
  fromSeconds: (seconds) => `(${seconds} * 1000)::bigint`,
  toSeconds: (value) => `${value} / 1000.0::float8`,
};
/** The schema allows the removal of an event in a transaction that says it is a sweep (migration 0015). */
const AUDIT_INSTANT: Instant = {
  ...EXPIRY,
  column: 'at',
  condition: "AND set_config('lanyard.sweeps_audit_events', 'on', true) = 'on'",
};

/** Where a change log line was read long ago by every process that is alive (database/change-log). */
const LOGGED_AT: Instant = { ...EXPIRY, column: 'at' };

function instantOf(table: PrunedTable): Instant {
  if (table === 'change_log') return LOGGED_AT;
  if (table === 'login_throttle') return THROTTLE_EXPIRY;
  return table === 'audit_events' ? AUDIT_INSTANT : EXPIRY;
}

/**
 * Parameters: the most rows to take, the instant to begin at (seconds since 1970), and how long rows are kept after theirs (seconds).
 *
 * - Rows that another node or a request has locked are skipped. A locked row cannot move, so its ctid finds it.
 * - It begins where the last batch ended: the index begins with an entry for every row that was removed since the last vacuum. To
 *   skip half a million of them took 176 ms instead of 9, and while an old transaction is open (a backup) every batch would.
 * - The commit does not wait for the disk: a row that a power cut brings back is still due.
 * - It has no name, so it is planned each time (a quarter of a millisecond) for the table as it is now. A plan from the time when the
 *   table was empty would read and sort all of it.
 */
export function sweepOf(table: PrunedTable): Statement {
  const { column, fromSeconds, toSeconds, condition = '' } = instantOf(table);
  return {
    name: '',
    text: `WITH gone AS (
             DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM ${table}
               WHERE ${column} >= ${fromSeconds('$2::float8')}
                 AND ${column} < ${fromSeconds('(extract(epoch FROM now())::float8 - $3::float8)')} ${condition}
               ORDER BY ${column} LIMIT $1 FOR UPDATE SKIP LOCKED))
             RETURNING ${column} AS instant)
           SELECT count(*)::int AS removed, ${toSeconds('min(instant)')} AS oldest, ${toSeconds('max(instant)')} AS newest,
             extract(epoch FROM now())::float8 AS now, set_config('synchronous_commit', 'off', true) FROM gone`,
  };
}
