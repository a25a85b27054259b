// What Lanyard tells about itself in numbers (docs/metrics.md lists them). One value per installation, with a registry of its
// own: several servers may run in one process. The rest of the house calls functions that are named after what happened and
// knows nothing about Prometheus.
//
// Nothing that a caller sends becomes a label. The label values are closed lists, or the ids of registered clients that were
// issued tokens (client-labels), so an attacker can make numbers grow but never the number of series.

import { collectDefaultMetrics, Registry } from 'prom-client';
import { createMachineryMetrics, type MachineryMetrics } from './machinery.ts';
import { createTrafficMetrics, type TrafficMetrics } from './traffic.ts';

/** The exposition format of Prometheus, ready to be sent. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

export interface Metrics extends TrafficMetrics, MachineryMetrics {
  /** for whoever adds up the numbers of several processes */
  readonly registry: Registry;
  read(): Promise<Exposition>;
}

/**
 * @param options.watchesProcess also tells about the process: memory, CPU, garbage collection, the event loop. Watching them
 *   has a price and cannot be stopped again, so it is for a process whose numbers somebody reads.
 */
export function createMetrics(options: { watchesProcess?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.watchesProcess === true) collectDefaultMetrics({ register: registry });
  let underway: Promise<Exposition> | undefined;

  async function collect(): Promise<Exposition> {
    try {
      return { contentType: registry.contentType, body: await registry.metrics() };
    } finally {
      underway = undefined;
    }
  }

  return {
    ...createTrafficMetrics(registry),
    ...createMachineryMetrics(registry),
    registry,
    // Who asks while the answer is being written gets the same one: asking often costs no more than asking once.
    read: () => (underway ??= collect()),
  };
}
