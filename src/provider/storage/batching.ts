// Gathered statements (database/gather) as this folder uses them: with the server's limit, counted in the metrics by name.

import { createGatherer, type Gatherer, type GathererOptions } from '../../database/batcher.ts';
import type { Database } from '../../database/database.ts';
import type { Metrics } from '../../metrics/metrics.ts';

export type StoreMetrics = Pick<Metrics, 'observeBatch' | 'watchQueue' | 'cacheRequested'>;

/** @param run one statement for all items, with its results in their order */
export type Gather = <Item, Result>(
  operation: string,
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  options?: Pick<GathererOptions<Item, Result>, 'maxRunning' | 'isAlternating'>,
) => Gatherer<Item, Result>;

export function createGathering({ queueSize }: Pick<Database, 'queueSize'>, metrics?: StoreMetrics): Gather {
  return (operation, run, options) => {
    const gather = createGatherer({
      ...options,
      maxWaiting: queueSize,
      run,
      onBatch: (size) => metrics?.observeBatch(operation, size),
    });
    metrics?.watchQueue(operation, gather.waiting);
    return gather;
  };
}
