// What goes on inside: the pool, argon2, the store and its queue, caches, the change feed, the sweeping of expired rows. What
// has a state is asked for it at each scrape; a part that does not exist, or cannot tell, has no sample rather than a 0.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { fewNames } from './closed-lists.ts';

const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/** As `pg.Pool` has them. */
export interface PoolState {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
}

export interface PasswordLoad {
  readonly running: number;
  readonly waiting: number;
}

export type CacheResult = 'hit' | 'miss' | 'bypass';

export interface MachineryMetrics {
  /** @param limit how many connections there are at most */
  watchPool(name: 'general' | 'batch', pool: PoolState, limit: number): void;
  watchPasswords(load: () => PasswordLoad): void;
  /** What waits to be put into a batch. @param queue a name from the code */
  watchQueue(queue: string, depth: () => number): void;
  /** @param heard notifications so far */
  watchChangeFeed(feed: { isLive(): boolean; heard(): number }): void;
  /** One statement that served several requests. @param operation a name from the code */
  observeBatch(operation: string, size: number): void;
  cacheRequested(cache: string, result: CacheResult): void;
  /** Expired rows that were removed. */
  pruned(table: string, rows: number): void;
  /** A round of sweeping ended without an error, now. @param lagSeconds for how long the oldest row has been due; 0: none is */
  pruneSucceeded(lagSeconds: number): void;
}

export function createMachineryMetrics(registry: Registry): MachineryMetrics {
  const registers = [registry];
  const batches = new Histogram({
    name: 'lanyard_store_batch_size',
    help: 'How many requests one statement served.',
    labelNames: ['operation'],
    buckets: BATCH_BUCKETS,
    registers,
  });
  const cache = new Counter({
    name: 'lanyard_cache_requests_total',
    help: 'Questions to a cache: answered by it (hit), not (miss), or not put to it because it may be stale (bypass).',
    labelNames: ['cache', 'result'],
    registers,
  });
  const prunedRows = new Counter({
    name: 'lanyard_prune_rows_total',
    help: 'Expired rows that were removed.',
    labelNames: ['table'],
    registers,
  });
  const pruneLag = new Gauge({
    name: 'lanyard_prune_lag_seconds',
    help: 'For how long the oldest expired row is due to be removed; 0 when none is.',
    aggregator: 'max',
    registers,
  });
  const pruneSuccess = new Gauge({
    name: 'lanyard_prune_last_success_timestamp_seconds',
    help: 'When the last round of sweeping ended without an error.',
    aggregator: 'max',
    registers,
  });
  // Of unknown value until somebody sets them.
  pruneLag.remove();
  pruneSuccess.remove();

  const pool = createPoolGauges(registry);
  const argon2 = createPasswordGauges(registry);
  const depths = new Map<string, () => number>();
  const queueName = fewNames();
  sampled(registry, 'lanyard_store_queue_depth', 'What waits to be put into a batch.', 'queue', () =>
    [...depths].map(([queue, depth]) => [queue, depth()]),
  );
  const changeFeed = createChangeFeedMetrics(registry);

  const operationName = fewNames();
  const cacheName = fewNames();
  const tableName = fewNames();
  return {
    watchPool: pool.watch,
    watchPasswords: argon2.watch,
    watchQueue: (queue, depth) => void depths.set(queueName(queue), depth),
    watchChangeFeed: changeFeed.watch,
    observeBatch: (operation, size) => batches.observe({ operation: operationName(operation) }, size),
    cacheRequested: (name, result) => cache.inc({ cache: cacheName(name), result }),
    pruned: (table, rows) => prunedRows.inc({ table: tableName(table) }, rows),
    pruneSucceeded(lagSeconds) {
      pruneLag.set(lagSeconds);
      pruneSuccess.setToCurrentTime();
    },
  };
}

function createChangeFeedMetrics(registry: Registry) {
  let feed: { isLive(): boolean; heard(): number } | undefined;
  new Gauge({
    name: 'lanyard_change_feed_connected',
    help: '1 while the announcements of other servers arrive, 0 while caches must be bypassed.',
    aggregator: 'min',
    registers: [registry],
    collect() {
      if (feed === undefined) this.remove();
      else this.set(feed.isLive() ? 1 : 0);
    },
  });
  new Counter({
    name: 'lanyard_change_feed_notifications_total',
    help: 'Changes that this and other servers have announced.',
    registers: [registry],
    collect() {
      this.remove();
      if (feed !== undefined) this.inc(feed.heard());
    },
  });
  return {
    watch(watched: { isLive(): boolean; heard(): number }) {
      feed = watched;
    },
  };
}

/** `general` serves transactions and single statements, `batch` the batches. */
function createPoolGauges(registry: Registry) {
  const watched = new Map<string, { pool: PoolState; limit: number }>();
  const perPool = (name: string, help: string, read: (pool: PoolState, limit: number) => number) =>
    sampled(registry, name, help, 'pool', () =>
      [...watched].map(([poolName, { pool, limit }]) => [poolName, read(pool, limit)]),
    );
  perPool('lanyard_database_pool_busy', 'Connections to PostgreSQL that are at work.', (pool) => {
    return pool.totalCount - pool.idleCount;
  });
  perPool('lanyard_database_pool_idle', 'Connections to PostgreSQL that wait for work.', (pool) => pool.idleCount);
  perPool('lanyard_database_pool_limit', 'How many connections there are at most.', (_pool, limit) => limit);
  perPool('lanyard_database_pool_waiting', 'What waits for a connection.', (pool) => pool.waitingCount);
  return {
    watch(name: string, pool: PoolState, limit: number) {
      watched.set(name, { pool, limit });
    },
  };
}

function createPasswordGauges(registry: Registry) {
  let load: (() => PasswordLoad) | undefined;
  single(registry, 'lanyard_argon2_running', 'Passwords that are being hashed.', () => load?.().running);
  single(registry, 'lanyard_argon2_waiting', 'Passwords that wait to be hashed.', () => load?.().waiting);
  return {
    watch(read: () => PasswordLoad) {
      load = read;
    },
  };
}

function single(registry: Registry, name: string, help: string, read: () => number | undefined): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      const value = read();
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

function sampled(registry: Registry, name: string, help: string, label: string, read: () => [string, number][]): void {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      for (const [value, sample] of read()) this.set({ [label]: value }, sample);
    },
  });
}
