// What the pruner removes: one statement per table. Partitions of `oidc_artifacts` are swept one by one; a statement on the
// parent would look for its rows in all of them and join them again by (model, id).

import type { Statement } from '../database/database.ts';
import { ARTIFACT_PARTITIONS } from './artifact-tables.ts';

/** Rows outlive their expiry by an hour: by then no clock tolerance reaches them. */
export const GRACE_SECONDS = 3_600;

/** A consumed refresh token keeps its own expiry, so a replay is noticed for as long as the token would have lived. */
export const PRUNED_TABLES = [
  ...ARTIFACT_PARTITIONS,
  'revoked_tokens',
  'replay_guard',
  'device_polls',
  'client_secrets',
  'login_throttle',
] as const;

export type PrunedTable = (typeof PRUNED_TABLES)[number];

/** What a batch answers; instants in seconds since 1970, null when no row went. */
export interface Batch {
  readonly removed: number;
  readonly oldest: number | null;
  readonly newest: number | null;
  readonly now: number;
}

/** How a table keeps its expiry; rate-limiter-flexible chose milliseconds since 1970. */
const INSTANT = {
  column: 'expires_at',
  fromSeconds: (seconds: string) => `to_timestamp(${seconds})`,
  toSeconds: (value: string) => `extract(epoch FROM ${value})::float8`,
};
const MILLISECONDS: typeof INSTANT = {
  column: 'expire',
  fromSeconds: (seconds) => `(${seconds} * 1000)::bigint`,
  toSeconds: (value) => `${value} / 1000.0::float8`,
};

/**
 * Parameters: the most rows to take, and the expiry to begin at (seconds since 1970).
 *
 * - Rows that another node or a request holds are passed over. What is locked cannot move, so its ctid finds it.
 * - It begins where the last batch ended: the front of the expiry index holds an entry for every row that went since the last
 *   vacuum. To walk past half a million of them took 176 ms instead of 9, and while an old transaction is open (a backup) every
 *   batch would.
 * - The commit does not wait for the disk: what a power cut brings back has still expired.
 * - It has no name, so it is planned each time (a quarter of a millisecond) for the table as it is now. A plan that was kept
 *   from the days when the table was empty would read and sort all of it.
 */
export function sweepOf(table: PrunedTable): Statement {
  const { column, fromSeconds, toSeconds } = table === 'login_throttle' ? MILLISECONDS : INSTANT;
  return {
    name: '',
    text: `WITH gone AS (
             DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM ${table}
               WHERE ${column} >= ${fromSeconds('$2::float8')}
                 AND ${column} < ${fromSeconds(`(extract(epoch FROM now())::float8 - ${GRACE_SECONDS})`)}
               ORDER BY ${column} LIMIT $1 FOR UPDATE SKIP LOCKED))
             RETURNING ${column} AS expiry)
           SELECT count(*)::int AS removed, ${toSeconds('min(expiry)')} AS oldest, ${toSeconds('max(expiry)')} AS newest,
             extract(epoch FROM now())::float8 AS now, set_config('synchronous_commit', 'off', true) FROM gone`,
  };
}
