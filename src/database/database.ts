// Owns the connections to PostgreSQL: one pool of `pg` connections for single statements and
// transactions, one for batches; the log of changes that other nodes commit. Statements have names
// (prepared once per connection), and a transaction offers the same `Query`, so that a store
// function does not care where it runs. Statements about tables are in the stores: this
// folder knows no tables. The other parts: batcher (one statement for many callers),
// array-parameters (its rows), cache, job-queue, migrations (the only use of Knex), and the
// PostgreSQL that Lanyard can start itself (embedded/).

import type pg from 'pg';
import type { Log } from '../log.ts';
import { type ChangeFeed, startChangeFeed } from './change-feed.ts';
import { type ChangeLog, createChangeLog } from './change-log.ts';
import { type ConnectionWatch, createConnectionWatch } from './connection-watch.ts';
import { ANSWER_MARGIN_SECONDS, ANSWER_SECONDS, connect, openPool } from './pool.ts';
import { isContentError } from './sql-state.ts';
import { asUnavailable, isUnavailable } from './unavailable.ts';

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

/**
 * Every statement, and every wait for a connection, has a deadline. Their errors are those of `pg`
 * when they are about the statement, otherwise AppError `database_unavailable`.
 */
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
  /** The same for work that may change millions of rows. */
  longTransaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /** Another pool of the same kind, for a library. It is closed with the database. */
  openPool(name: string, max: number): pg.Pool;
  /** what this and other nodes have committed to the rows that are kept in memory */
  readonly changes: ChangeLog & Pick<ChangeFeed, 'isLive' | 'heard'>;
  /** how many callers may wait for one kind of batch (batcher) */
  readonly queueSize: number;
  /** when a batch last failed because the database was not available, by performance.now() */
  lastFailureAt(): number;
  /** What is not answered soon is given up: the server stops, and nobody waits for the answers. */
  hurry(): void;
  close(): Promise<void>;
}

/** What removes all that a client or a user has, which may be millions of rows. */
const LONG_STATEMENT_SECONDS = 60;
/**
 * A transaction whose process is stopped, or cut off, keeps its locks from all others no longer than
 * that: PostgreSQL ends it, and its process learns that at the next statement.
 */
const BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";
/** How long an answer, or the end of a connection, is waited for when the server stops. */
const STOP_SECONDS = 2;

/**
 * For batches: planned once, since planning takes longer than running them, and never by reading a
 * table whole, which would be right while the table is small and wrong for as long as the plan is
 * kept. All of them have an index to go by.
 */
const BATCH_POOL_SETTINGS = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
};
/** A few connections carry all batches. */
const BATCH_CONNECTIONS = 8;

export function createDatabase(options: DatabaseOptions): Database {
  const { log, connectionString, poolSize } = options;
  const watch = createConnectionWatch();
  const createPool = (config: Pick<pg.PoolConfig, 'max' | 'application_name'>, settings?: typeof BATCH_POOL_SETTINGS) =>
    openPool({ watch, log }, { application_name: 'lanyard', ...config, connectionString }, settings);
  const batchConnections = Math.min(BATCH_CONNECTIONS, Math.floor(poolSize / 2));
  const batchPool = createPool({ max: batchConnections }, BATCH_POOL_SETTINGS);
  const pool = createPool({ max: poolSize - batchConnections });
  const others: pg.Pool[] = [];
  let lastFailureAt = Number.NEGATIVE_INFINITY;
  function noteFailure(error: unknown): never {
    if (isUnavailable(error)) lastFailureAt = performance.now();
    throw error;
  }
  const batchQuery: Query = <Row>(statement: Statement, values: readonly unknown[]) =>
    runOnce<Row>(batchPool, statement, values).catch(noteFailure);
  const changes = createChangeLog({ query: batchQuery, queueSize: options.queueSize });
  // A failure is found again by the request that asks next.
  const onNotice = () => void changes.current().catch(() => {});
  const feed = startChangeFeed({ connectionString, log, watch, onNotice });
  return {
    pool,
    batchPool,
    changes: { ...changes, isLive: feed.isLive, heard: feed.heard },
    queueSize: options.queueSize,
    query: (statement, values) => runOnce(pool, statement, values),
    batchQuery,
    transaction: (work) => runTransaction({ pool, watch }, work),
    longTransaction: (work) => runTransaction({ pool, watch, isLong: true }, work),
    openPool(name, max) {
      const opened = createPool({ max, application_name: name });
      others.push(opened);
      return opened;
    },
    lastFailureAt: () => lastFailureAt,
    hurry: () => watch.allowAll(STOP_SECONDS),
    async close() {
      await feed.close();
      const cancel = watch.after(STOP_SECONDS, watch.destroyAll);
      await Promise.all([pool, batchPool, ...others].map((each) => each.end()));
      cancel();
      watch.close();
    },
  };
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
    const result = await run<Row>(client, statement, values, !statement.text.startsWith('SELECT'));
    client.release();
    return result;
  } catch (error) {
    client.release(!isContentError(error));
    throw error;
  }
}

interface TransactionDeps {
  readonly pool: pg.Pool;
  readonly watch: ConnectionWatch;
  readonly isLong?: boolean;
}

async function runTransaction<T>(
  { pool, watch, isLong = false }: TransactionDeps,
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const client = await connect(pool);
  if (isLong) watch.allow(client, LONG_STATEMENT_SECONDS + ANSWER_MARGIN_SECONDS);
  try {
    await send(client, isLong ? `${BEGIN}; SET LOCAL statement_timeout = '${LONG_STATEMENT_SECONDS}s'` : BEGIN, false);
    const result = await work((statement, values) => run(client, statement, values, false));
    // The answer is made of this. If it cannot be written as JSON, nothing is committed.
    JSON.stringify(result);
    const { command } = await send(client, 'COMMIT', true);
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
  } finally {
    if (isLong) watch.allow(client, ANSWER_SECONDS);
  }
}

/** @param isOpen whether it may have been committed when there is no answer */
async function send(client: pg.PoolClient, query: string | pg.QueryConfig, isOpen: boolean): Promise<pg.QueryResult> {
  try {
    return await client.query(query);
  } catch (error) {
    throw asUnavailable(error, isOpen);
  }
}

async function run<Row>(
  client: pg.PoolClient,
  statement: Statement,
  values: readonly unknown[],
  isOpen: boolean,
): Promise<QueryResult<Row>> {
  const result = await send(client, { ...statement, values: [...values] }, isOpen);
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}
