// Owns the connections to PostgreSQL: one pool of `pg` connections for single statements and
// transactions, one for batches; the feed of changes that other nodes commit. Statements have names
// (prepared once per connection), and a transaction offers the same `Query`, so that a store
// function does not care where it runs. What needs a statement of its own stands elsewhere: this
// folder knows no tables. The other parts: batcher (one statement for many callers),
// array-parameters (its rows), cache, job-queue, migrations (the only use of Knex), and the
// PostgreSQL that Lanyard can start itself (embedded/).

import pg from 'pg';
import type { Log } from '../log.ts';
import { CHANNEL, type ChangeFeed, startChangeFeed } from './change-feed.ts';
import { isContentError } from './sql-state.ts';

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

/**
 * Runs one named statement: on any connection of the pool, or on the one connection of a
 * transaction.
 */
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
  /** for batches only (batcher): its connections plan differently */
  readonly batchQuery: Query;
  readonly batchPool: pg.Pool;
  /**
   * Runs `work` in one transaction: all of it is committed, or none.
   * @returns what `work` returns, which must be something that can be written as JSON
   */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /** what this and other nodes have committed to the configuration tables */
  readonly changes: ChangeFeed;
  /** how many callers may wait for one kind of batch (batcher) */
  readonly queueSize: number;
  close(): Promise<void>;
}

/** Long enough for a busy database, short enough that a client still gets an answer. */
const CONNECT_TIMEOUT_MS = 5_000;
/** No statement of ours takes seconds; one that does is stuck. PostgreSQL ends it. */
const STATEMENT_TIMEOUT_MS = 30_000;
/**
 * Where not even that comes back, the connection was cut without a word; TCP would wait for a
 * quarter of an hour.
 */
const ANSWER_TIMEOUT_MS = 35_000;

/**
 * For batches: planned once, since planning takes longer than running them, and never by reading a
 * table whole, which would be right while the table is small and wrong for as long as the plan is
 * kept. All of them have an index to go by.
 */
const BATCH_POOL_SETTINGS =
  'SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; ' +
  'SET enable_hashjoin = off; SET enable_mergejoin = off';
/** A few connections carry all batches. */
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
    query: (statement, values) => runOnce(pool, statement, values),
    batchQuery: (statement, values) => runOnce(batchPool, statement, values),
    transaction: (work) => runTransaction(pool, work),
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
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
  });
  // An idle connection that dies is replaced at the next use; without a listener it would end the
  // process.
  pool.on('error', (error) => log.warn({ error }, 'an idle database connection was lost'));
  // The same for one that dies inside a transaction: its next statement fails, which is how the
  // caller learns of it.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    // PostgreSQL refused a parameter of the connection (22023): no fault of the statement that
    // waits for it.
    throw isContentError(error) ? new Error('the database refused the connection', { cause: error }) : error;
  }
}

/**
 * Unlike `pool.query` it keeps a connection, with all that was prepared on it, when only the
 * statement was at fault.
 */
async function runOnce<Row>(
  pool: pg.Pool,
  statement: Statement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const client = await connect(pool);
  try {
    const result = await run<Row>(client, statement, values);
    client.release();
    return result;
  } catch (error) {
    client.release(!isContentError(error));
    throw error;
  }
}

async function runTransaction<T>(pool: pg.Pool, work: (query: Query) => Promise<T>): Promise<T> {
  const client = await connect(pool);
  try {
    await client.query('BEGIN');
    const result = await work((statement, values) => run(client, statement, values));
    // The answer is made of this. If it cannot be written as JSON, nothing is committed.
    JSON.stringify(result);
    const { command } = await client.query('COMMIT');
    // What PostgreSQL answers when a statement has failed and the work went on regardless.
    if (command === 'ROLLBACK') throw new Error('nothing was committed: a statement of this transaction had failed');
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
}

async function run<Row>(
  client: pg.PoolClient,
  statement: Statement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const result = await client.query({ ...statement, values: [...values] });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}
