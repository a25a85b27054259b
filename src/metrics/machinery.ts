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
  watchPool(pool: PoolState, limit: number): void;
  watchPasswords(load: () => PasswordLoad): void;
  /** What waits to be put into a batch. @param queue a name from the code */
  watchQueue(queue: string, depth: () => number): void;
  watchChangeFeed(isConnected: () => boolean): void;
  changeFeedNotified(): void;
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
  const notifications = new Counter({
    name: 'lanyard_change_feed_notifications_total',
    help: 'Changes that other servers have announced.',
    registers,
  });
  notifications.remove();
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
  let isFeedConnected: (() => boolean) | undefined;
  new Gauge({
    name: 'lanyard_change_feed_connected',
    help: '1 while the announcements of other servers arrive, 0 while caches must be bypassed.',
    aggregator: 'min',
    registers,
    collect() {
      if (isFeedConnected === undefined) this.remove();
      else this.set(isFeedConnected() ? 1 : 0);
    },
  });

  const operationName = fewNames();
  const cacheName = fewNames();
  const tableName = fewNames();
  return {
    watchPool: pool.watch,
    watchPasswords: argon2.watch,
    watchQueue: (queue, depth) => void depths.set(queueName(queue), depth),
    watchChangeFeed(isConnected) {
      isFeedConnected = isConnected;
      notifications.inc(0);
    },
    changeFeedNotified: () => notifications.inc(),
    observeBatch: (operation, size) => batches.observe({ operation: operationName(operation) }, size),
    cacheRequested: (name, result) => cache.inc({ cache: cacheName(name), result }),
    pruned: (table, rows) => prunedRows.inc({ table: tableName(table) }, rows),
    pruneSucceeded(lagSeconds) {
      pruneLag.set(lagSeconds);
      pruneSuccess.setToCurrentTime();
    },
  };
}

function createPoolGauges(registry: Registry) {
  let watched: { pool: PoolState; limit: number } | undefined;
  sampled(registry, 'lanyard_database_pool_connections', 'Connections to PostgreSQL, by what they do.', 'state', () =>
    watched === undefined
      ? []
      : [
          ['busy', watched.pool.totalCount - watched.pool.idleCount],
          ['idle', watched.pool.idleCount],
        ],
  );
  single(registry, 'lanyard_database_pool_limit', 'How many connections there are at most.', () => watched?.limit);
  single(
    registry,
    'lanyard_database_pool_waiting',
    'Requests that wait for a connection.',
    () => watched?.pool.waitingCount,
  );
  return {
    watch(pool: PoolState, limit: number) {
      watched = { pool, limit };
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
