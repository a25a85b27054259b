// Metrics of the internals: connection pools, argon2, batches, caches, the change feed, pruning and the log.
// State is read at each scrape. A part that is not there, or has no value yet, has no sample.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { standardOutput } from '../output/output.ts';
import { fewNames } from './closed-lists.ts';
import { counter, sampledGauges } from './instruments.ts';

const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/** The members of `pg.Pool`. */
export interface PoolState {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
}

export interface PasswordLoad {
  readonly running: number;
  readonly waiting: number;
}

export type CacheResult = 'hit' | 'miss';

export interface ChangeFeedState {
  isLive(): boolean;
  /** notifications received so far */
  heard(): number;
}

export interface InternalMetrics {
  /** @param limit the maximum number of connections */
  watchPool(name: 'general' | 'batch', pool: PoolState, limit: number): void;
  /** @param whose passwords and secrets the queue is for */
  watchPasswords(whose: 'users' | 'clients', load: () => PasswordLoad): void;
  /** @param queue of items that wait for a batch; a name from the code */
  watchQueue(queue: string, depth: () => number): void;
  watchChangeFeed(feed: ChangeFeedState): void;
  /** @param offsetSeconds by how much this process is ahead of the database */
  watchClock(offsetSeconds: () => number): void;
  /** One statement that served several requests. @param operation a name from the code */
  observeBatch(operation: string, size: number): void;
  cacheRequested(cache: string, result: CacheResult): void;
  /** Expired rows were deleted. */
  pruned(table: string, rows: number): void;
  /** A pruning round ended without an error. @param lagSeconds since the oldest row is due, or 0 */
  pruneSucceeded(lagSeconds: number): void;
}

export function createInternalMetrics(registry: Registry): InternalMetrics {
  const batches = new Histogram({
    name: 'lanyard_store_batch_size',
    help: 'Number of requests served by one batched statement.',
    labelNames: ['operation'],
    buckets: BATCH_BUCKETS,
    registers: [registry],
  });
  const depths = new Map<string, () => number>();
  sampledGauges(registry, 'lanyard_store_queue_depth', 'Number of items waiting for a batch.', 'queue', () =>
    [...depths].map(([queue, depth]) => [queue, depth()]),
  );
  const [queueName, operationName] = [fewNames(), fewNames()];
  countDroppedLines(registry);
  return {
    ...createPoolMetrics(registry),
    ...createPasswordMetrics(registry),
    ...createChangeFeedMetrics(registry),
    ...createClockMetrics(registry),
    ...createPruningMetrics(registry),
    watchQueue: (queue, depth) => void depths.set(queueName(queue), depth),
    observeBatch: (operation, size) => batches.observe({ operation: operationName(operation) }, size),
    cacheRequested: createCacheMetrics(registry),
  };
}

/** The output is that of the process, whatever is served in it. */
export function countDroppedLines(registry: Registry): void {
  new Counter({
    name: 'lanyard_log_lines_dropped_total',
    help: 'Log lines dropped because stdout did not take them: a full disk, a reader that has stopped or is gone.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(standardOutput.droppedLines);
    },
  });
}

/** Counted in numbers of our own: every request looks up several rows, and a counter hashes its labels each time. */
function createCacheMetrics(registry: Registry): InternalMetrics['cacheRequested'] {
  const counts = new Map<string, Record<CacheResult, number>>();
  const cacheName = fewNames();
  new Counter({
    name: 'lanyard_cache_requests_total',
    help: 'Cache lookups: answered from the cache (hit), or not in it (miss).',
    labelNames: ['cache', 'result'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [cache, byResult] of counts) {
        for (const [result, count] of Object.entries(byResult)) if (count > 0) this.inc({ cache, result }, count);
      }
    },
  });
  return (name, result) => {
    const cache = cacheName(name);
    const byResult = counts.get(cache) ?? { hit: 0, miss: 0 };
    byResult[result]++;
    counts.set(cache, byResult);
  };
}

function createPruningMetrics(registry: Registry): Pick<InternalMetrics, 'pruned' | 'pruneSucceeded'> {
  const rowCount = counter(registry, 'lanyard_prune_rows_total', 'Number of expired rows deleted.', ['table']);
  const lag = new Gauge({
    name: 'lanyard_prune_lag_seconds',
    help: 'Time since the oldest expired row became due for deletion; 0 if none is due.',
    aggregator: 'max',
    registers: [registry],
  });
  const lastSuccess = new Gauge({
    name: 'lanyard_prune_last_success_timestamp_seconds',
    help: 'When the last pruning round without an error ended; 0 before the first one.',
    aggregator: 'max',
    registers: [registry],
  });
  // The last success stays at 0, so that an alert on its age fires when no round ever succeeds.
  lag.remove();
  const tableName = fewNames();
  return {
    pruned: (table, rows) => rowCount.inc({ table: tableName(table) }, rows),
    pruneSucceeded(lagSeconds) {
      lag.set(lagSeconds);
      lastSuccess.setToCurrentTime();
    },
  };
}

function createChangeFeedMetrics(registry: Registry): Pick<InternalMetrics, 'watchChangeFeed'> {
  let feed: ChangeFeedState | undefined;
  new Gauge({
    name: 'lanyard_change_feed_connected',
    help: '1 while notifications of changes are received.',
    aggregator: 'min',
    registers: [registry],
    collect() {
      if (feed === undefined) this.remove();
      else this.set(feed.isLive() ? 1 : 0);
    },
  });
  new Counter({
    name: 'lanyard_change_feed_notifications_total',
    help: 'Change notifications received, from this server and others.',
    registers: [registry],
    collect() {
      this.remove();
      if (feed !== undefined) this.inc(feed.heard());
    },
  });
  return {
    watchChangeFeed(watched) {
      feed = watched;
    },
  };
}

/** Pool `batch` runs the batched statements, `general` transactions and single statements. */
function createPoolMetrics(registry: Registry): Pick<InternalMetrics, 'watchPool'> {
  const watched = new Map<string, { pool: PoolState; limit: number }>();
  const perPool = (name: string, help: string, read: (pool: PoolState, limit: number) => number) =>
    sampledGauges(registry, name, help, 'pool', () =>
      [...watched].map(([poolName, { pool, limit }]) => [poolName, read(pool, limit)]),
    );
  perPool('lanyard_database_pool_busy', 'PostgreSQL connections in use.', (pool) => pool.totalCount - pool.idleCount);
  perPool('lanyard_database_pool_idle', 'Idle PostgreSQL connections.', (pool) => pool.idleCount);
  perPool('lanyard_database_pool_limit', 'Maximum number of PostgreSQL connections.', (_pool, limit) => limit);
  perPool('lanyard_database_pool_waiting', 'Requests waiting for a PostgreSQL connection.', (pool) => {
    return pool.waitingCount;
  });
  return {
    watchPool: (name, pool, limit) => void watched.set(name, { pool, limit }),
  };
}

function createClockMetrics(registry: Registry): Pick<InternalMetrics, 'watchClock'> {
  let read: (() => number) | undefined;
  new Gauge({
    name: 'lanyard_clock_offset_seconds',
    help: 'By how much the clock of this server is ahead of that of the database.',
    // The processes of a server have one clock.
    aggregator: 'average',
    registers: [registry],
    collect() {
      if (read === undefined) this.remove();
      else this.set(read());
    },
  });
  return {
    watchClock(offsetSeconds) {
      read = offsetSeconds;
    },
  };
}

function createPasswordMetrics(registry: Registry): Pick<InternalMetrics, 'watchPasswords'> {
  const loads = new Map<string, () => PasswordLoad>();
  const perQueue = (name: string, help: string, read: (load: PasswordLoad) => number) =>
    sampledGauges(registry, name, help, 'queue', () => [...loads].map(([queue, load]) => [queue, read(load())]));
  perQueue('lanyard_argon2_running', 'Password hashes being computed.', ({ running }) => running);
  perQueue('lanyard_argon2_waiting', 'Password hashes waiting for the CPU.', ({ waiting }) => waiting);
  return {
    watchPasswords: (whose, load) => void loads.set(whose, load),
  };
}
