// The Prometheus metrics of a server (docs/metrics.md lists them), with their registry. This folder
// owns names, labels and help texts. Other folders call functions named after events (tokenIssued),
// and the registry is read at GET /metrics.
//
// No label has a value that a caller sent. Label values are from closed lists, or ids of registered
// clients that were issued tokens (client-labels), so that a caller cannot add series.

import { collectDefaultMetrics, Registry } from 'prom-client';
import { type ConnectionMetrics, createConnectionMetrics } from './connections.ts';
import { createInternalMetrics, type InternalMetrics } from './internals.ts';
import { createTrafficMetrics, type TrafficMetrics } from './traffic.ts';

/** The exposition format of Prometheus, ready to be sent. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

/** Of one process, as they travel between processes to be added up (metrics-sum.ts). */
export type ProcessMetrics = readonly { readonly type: unknown }[];

export interface Metrics extends TrafficMetrics, InternalMetrics, ConnectionMetrics {
  readAsJson(): Promise<ProcessMetrics>;
  read(): Promise<Exposition>;
}

/**
 * @param options.watchesProcess adds metrics of the process: memory, CPU, garbage collection, event
 *   loop. Collecting them has a cost and cannot be stopped again.
 */
export function createMetrics(options: { watchesProcess?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.watchesProcess === true) collectDefaultMetrics({ register: registry });
  let pending: Promise<Exposition> | undefined;

  async function collect(): Promise<Exposition> {
    try {
      return { contentType: registry.contentType, body: await registry.metrics() };
    } finally {
      pending = undefined;
    }
  }

  return {
    ...createTrafficMetrics(registry),
    ...createInternalMetrics(registry),
    ...createConnectionMetrics(registry),
    readAsJson: () => registry.getMetricsAsJSON(),
    // Concurrent scrapes share one result.
    read: () => (pending ??= collect()),
  };
}
