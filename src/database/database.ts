// How to reach PostgreSQL: one pool of `pg` connections, statements with names (prepared once per connection), and
// transactions that hand out the same `Query`, so that a store function does not care where it runs; and the feed of what others
// change. Knex is used for the migrations only. This folder knows no tables.

import pg from 'pg';
import type { Log } from '../log.ts';
import { type ChangeFeed, startChangeFeed } from './change-feed.ts';

/** A statement with a name is prepared once per connection and then only executed. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number;
}

/** Runs one named statement: on any connection of the pool, or on the one connection of a transaction. */
export type Query = <Row>(statement: Statement, values: readonly unknown[]) => Promise<QueryResult<Row>>;

export interface Database {
  readonly pool: pg.Pool;
  readonly query: Query;
  /** Runs `work` in one transaction: all of it is committed, or none. */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /** what this and other nodes have committed to the configuration tables */
  readonly changes: ChangeFeed;
  close(): Promise<void>;
}

/** Long enough for a busy database, short enough that a client still hears why. */
const CONNECT_TIMEOUT_MS = 5_000;
/** No statement of ours takes seconds; one that does is stuck. */
const STATEMENT_TIMEOUT_MS = 30_000;

/**
 * A prepared statement keeps the plan of its first executions. On tables that are small then, that plan would read them whole,
 * and go on doing so while they grow. Every statement of ours has an index to go by.
 */
const SESSION_SETTINGS = 'SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off';

export function createDatabase(options: { connectionString: string; poolSize: number; log: Log }): Database {
  const pool = new pg.Pool({
    connectionString: options.connectionString,
    application_name: 'lanyard',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    max: options.poolSize,
    onConnect: async (client) => void (await client.query(SESSION_SETTINGS)),
  });
  // An idle connection that dies is replaced at the next use; without a listener it would end the process.
  pool.on('error', (error) => options.log.warn({ error }, 'an idle database connection was lost'));
  // The same for one that dies inside a transaction: its next statement fails, which is how the caller hears of it.
  pool.on('connect', (client) => client.on('error', () => {}));
  const changes = startChangeFeed(options);
  return {
    pool,
    changes,
    query: (statement, values) => run(pool, statement, values),
    async transaction(work) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const result = await work((statement, values) => run(client, statement, values));
        await client.query('COMMIT');
        client.release();
        return result;
      } catch (error) {
        // A connection that cannot even roll back is broken: it is thrown away, which rolls back too.
        const isBroken = await client.query('ROLLBACK').then(
          () => false,
          () => true,
        );
        client.release(isBroken);
        throw error;
      }
    },
    async close() {
      await changes.close();
      await pool.end();
    },
  };
}

async function run<Row>(
  executor: pg.Pool | pg.PoolClient,
  statement: Statement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const result = await executor.query({ ...statement, values: [...values] });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}
