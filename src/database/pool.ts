// A pool of connections to PostgreSQL in which nothing waits for ever: every connection is watched, and
// locks, statements and the wait for a connection have their deadlines.

import pg from 'pg';
import type { Log } from '../log.ts';
import { sessionSettings } from './connection.ts';
import type { ConnectionWatch } from './connection-watch.ts';
import { cannotConnect } from './unavailable.ts';

/** For a free connection, or a new one. */
const CONNECT_TIMEOUT_MS = 3_000;
/** No lock of ours is held for longer than some statements take. */
const LOCK_TIMEOUT_MS = 4_000;
/** No statement of ours takes seconds; one that does is stuck. PostgreSQL ends it. */
const STATEMENT_SECONDS = 5;
/** Where PostgreSQL does not even say that it has ended a statement, the connection was cut. */
export const ANSWER_MARGIN_SECONDS = 1;
export const ANSWER_SECONDS = STATEMENT_SECONDS + ANSWER_MARGIN_SECONDS;

interface PoolDeps {
  readonly watch: ConnectionWatch;
  readonly log: Log;
}

/** @param settings of its connections, above those that all have */
export function openPool(
  { watch, log }: PoolDeps,
  config: pg.PoolConfig,
  settings: Readonly<Record<string, string>> = {},
): pg.Pool {
  const deadlines = { lock_timeout: String(LOCK_TIMEOUT_MS), statement_timeout: String(STATEMENT_SECONDS * 1000) };
  const first = sessionSettings({ ...deadlines, ...settings });
  const pool = new pg.Pool({
    ...config,
    // Of connections that others may take, each pool keeps one.
    min: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    async onConnect(client) {
      // One that dies inside a transaction: its next statement fails, which is how the caller
      // learns of it. Without a listener it would end the process.
      client.on('error', () => {});
      watch.add(client, ANSWER_SECONDS);
      await client.query(first);
    },
  });
  // An idle connection that dies is replaced at the next use.
  pool.on('error', (error) => log.warn({ error }, 'an idle database connection was lost'));
  return pool;
}

/** @throws AppError `database_unavailable` */
export function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  return pool.connect().catch((error: unknown) => {
    throw cannotConnect(error);
  });
}
