// Sweeps what has expired, in batches that stay small, on every node without waiting for the others (SKIP LOCKED).

import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';

const INTERVAL_MS = 60_000;
const BATCH_ROWS = 2_000;
/** One round takes 20 batches of a table at most; what is left waits for the next minute. */
const MAX_BATCHES = 20;

/**
 * Rows outlive their expiry by an hour: by then no clock tolerance reaches them. Consumed refresh tokens keep their own expiry,
 * so a replay is noticed for as long as the token would have lived.
 */
const SWEEPS = [
  {
    name: 'prune_artifacts',
    text: `DELETE FROM oidc_artifacts WHERE (model, id) IN (
             SELECT model, id FROM oidc_artifacts WHERE expires_at < now() - interval '1 hour'
             LIMIT $1 FOR UPDATE SKIP LOCKED)`,
  },
  {
    name: 'prune_revoked_tokens',
    text: `DELETE FROM revoked_tokens WHERE jti_hash IN (
             SELECT jti_hash FROM revoked_tokens WHERE expires_at < now() - interval '1 hour'
             LIMIT $1 FOR UPDATE SKIP LOCKED)`,
  },
  {
    name: 'prune_replay_guard',
    text: `DELETE FROM replay_guard WHERE id IN (
             SELECT id FROM replay_guard WHERE expires_at < now() - interval '1 hour' LIMIT $1 FOR UPDATE SKIP LOCKED)`,
  },
  {
    name: 'prune_login_throttle',
    text: `DELETE FROM login_throttle WHERE key IN (
             SELECT key FROM login_throttle WHERE expire < extract(epoch FROM now()) * 1000
             LIMIT $1 FOR UPDATE SKIP LOCKED)`,
  },
  {
    name: 'prune_client_secrets',
    text: `DELETE FROM client_secrets WHERE id IN (
             SELECT id FROM client_secrets WHERE expires_at < now() - interval '1 hour' LIMIT $1 FOR UPDATE SKIP LOCKED)`,
  },
];

/** @returns how many rows went, by sweep */
export async function pruneOnce(database: Database): Promise<Record<string, number>> {
  const removed: Record<string, number> = {};
  for (const sweep of SWEEPS) {
    removed[sweep.name] = 0;
    for (let batch = 0; batch < MAX_BATCHES; batch++) {
      const { rowCount } = await database.query(sweep, [BATCH_ROWS]);
      removed[sweep.name] = (removed[sweep.name] ?? 0) + rowCount;
      if (rowCount < BATCH_ROWS) break;
    }
  }
  return removed;
}

/** @returns a function that stops the sweeping and waits for the one underway */
export function startPruning(database: Database, log: Log): () => Promise<void> {
  let underway: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    underway = pruneOnce(database).then(
      (removed) => log.debug({ removed }, 'pruned'),
      (error) => log.warn({ error }, 'pruning failed'),
    );
  }, INTERVAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await underway;
  };
}
