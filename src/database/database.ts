// How to reach PostgreSQL: one pool of `pg` connections, statements with names (prepared once per connection), and
// transactions that hand out the same `Query`, so that a store function does not care where it runs; and the feed of what others
// change. Knex is used for the migrations only. This folder knows no tables.

import pg from 'pg';
import type { Log } from '../log.ts';
import { CHANNEL, type ChangeFeed, startChangeFeed } from './change-feed.ts';

/** A statement with a name is prepared once per connection and then only executed. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** each row comes as an array of its columns, which costs less than an object */
  readonly rowMode?: 'array' | undefined;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number;
}

/** Runs one named statement: on any connection of the pool, or on the one connection of a transaction. */
export type Query = <Row>(statement: Statement, values: readonly unknown[]) => Promise<QueryResult<Row>>;

export interface DatabaseOptions {
  readonly connectionString: string;
  readonly poolSize: number;
  readonly queueSize: number;
  readonly log: Log;
}

export interface Database {
  readonly pool: pg.Pool;
  readonly query: Query;
  /** for gathered statements only (database/gather): its connections plan differently */
  readonly batchQuery: Query;
  readonly batchPool: pg.Pool;
  /**
   * Runs `work` in one transaction: all of it is committed, or none.
   * @returns what `work` returns, which must be something that can be written as JSON
   */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /** what this and other nodes have committed to the configuration tables */
  readonly changes: ChangeFeed;
  /** how many callers may wait for one kind of gathered statement (database/gather) */
  readonly queueSize: number;
  close(): Promise<void>;
}

/** Long enough for a busy database, short enough that a client still hears why. */
const CONNECT_TIMEOUT_MS = 5_000;
/** No statement of ours takes seconds; one that does is stuck. */
const STATEMENT_TIMEOUT_MS = 30_000;

/**
 * For gathered statements: planned once, since planning takes longer than running them, and never by reading a table whole,
 * which would be right while the table is small and wrong for as long as the plan is kept. All of them have an index to go by.
 */
const BATCH_POOL_SETTINGS =
  'SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; ' +
  'SET enable_hashjoin = off; SET enable_mergejoin = off';
/** A few connections carry all gathered statements. */
const BATCH_CONNECTIONS = 8;

export function createDatabase(options: DatabaseOptions): Database {
  const { log, connectionString, poolSize } = options;
  const batchConnections = Math.min(BATCH_CONNECTIONS, Math.floor(poolSize / 2));
  const batchPool = createPool({
    max: batchConnections,
    log,
    connectionString,
    onConnect: async (client) => void (await client.query(BATCH_POOL_SETTINGS)),
  });
  const pool = createPool({ max: poolSize - batchConnections, log, connectionString });
  const changes = startChangeFeed({
    connectionString,
    log,
    announce: (payload) => pool.query('SELECT pg_notify($1, $2)', [CHANNEL, payload]),
  });
  return {
    pool,
    batchPool,
    changes,
    queueSize: options.queueSize,
    query: (statement, values) => run(pool, statement, values),
    batchQuery: (statement, values) => run(batchPool, statement, values),
    async transaction(work) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const result = await work((statement, values) => run(client, statement, values));
        // The answer is made of this. If it cannot be written as JSON, nothing is committed.
        JSON.stringify(result);
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
      await Promise.all([pool.end(), batchPool.end()]);
    },
  };
}

function createPool(options: Pick<pg.PoolConfig, 'max' | 'connectionString' | 'onConnect'> & { log: Log }): pg.Pool {
  const { log, ...config } = options;
  const pool = new pg.Pool({
    ...config,
    application_name: 'lanyard',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  });
  // An idle connection that dies is replaced at the next use; without a listener it would end the process.
  pool.on('error', (error) => log.warn({ error }, 'an idle database connection was lost'));
  // The same for one that dies inside a transaction: its next statement fails, which is how the caller hears of it.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

async function run<Row>(
  executor: pg.Pool | pg.PoolClient,
  statement: Statement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const result = await executor.query({ ...statement, values: [...values] });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}
