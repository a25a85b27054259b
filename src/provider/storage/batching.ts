// Batches (database/batcher) as this folder uses them: with the server's limit, counted in the
// metrics by name.

import { type Batcher, type BatcherOptions, createBatcher } from '../../database/batcher.ts';
import type { Database } from '../../database/database.ts';
import type { Metrics } from '../../metrics/metrics.ts';

export type StoreMetrics = Pick<Metrics, 'observeBatch' | 'watchQueue' | 'cacheRequested'>;

/** @param run one statement for all items, with its results in their order */
export type Batching = <Item, Result>(
  operation: string,
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  options?: Pick<BatcherOptions<Item, Result>, 'maxRunning' | 'isAlternating' | 'maxBatch'>,
) => Batcher<Item, Result>;

export function createBatching({ queueSize }: Pick<Database, 'queueSize'>, metrics?: StoreMetrics): Batching {
  return (operation, run, options) => {
    const batcher = createBatcher({
      ...options,
      maxWaiting: queueSize,
      run,
      onBatch: (size) => metrics?.observeBatch(operation, size),
    });
    metrics?.watchQueue(operation, batcher.waiting);
    return batcher;
  };
}
