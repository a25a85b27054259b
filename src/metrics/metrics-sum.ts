// The metrics of several processes, added up. Each is asked at a scrape; one that does not answer in time is counted as it was at its
// last answer. Of a process that has ended the counters and histograms are kept, since a counter must not fall, and its gauges are not.

import { AggregatorRegistry, Registry } from 'prom-client';
import { countDroppedLines } from './internals.ts';
import type { Exposition, ProcessMetrics } from './metrics.ts';

export interface MetricsSum<Source> {
  /** It is asked from now on. */
  join(source: Source): void;
  answered(source: Source, metrics: ProcessMetrics): void;
  /** It has ended. */
  leave(source: Source): void;
  read(): Promise<Exposition>;
}

/** An answer takes milliseconds; Prometheus gives up after ten seconds by default. */
const ANSWER_TIMEOUT_MS = 2_000;
const KEPT_TYPES: readonly unknown[] = ['counter', 'histogram', 'summary'];

interface Member {
  latest: ProcessMetrics;
  answered: () => void;
}

/** @param ask asks a source, which answers by answered(). The process that adds up counts the lines that its own log has dropped. */
export function createMetricsSum<Source>(ask: (source: Source) => void): MetricsSum<Source> {
  const members = new Map<Source, Member>();
  const ended: ProcessMetrics[] = [];
  const own = new Registry();
  countDroppedLines(own);
  let pending: Promise<Exposition> | undefined;

  async function askAll(): Promise<void> {
    const answers = [...members].map(([source, member]) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      member.answered = resolve;
      ask(source);
      return promise;
    });
    const { promise: timeout, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ANSWER_TIMEOUT_MS);
    await Promise.race([Promise.all(answers), timeout]);
    clearTimeout(timer);
  }

  async function collect(): Promise<Exposition> {
    try {
      await askAll();
      // One sum for all that have ended, however many there were; more may end meanwhile.
      ended.push(await addUp(ended.splice(0)).getMetricsAsJSON());
      const sum = addUp([await own.getMetricsAsJSON(), ...ended, ...[...members.values()].map(({ latest }) => latest)]);
      return { contentType: sum.contentType, body: await sum.metrics() };
    } finally {
      pending = undefined;
    }
  }

  return {
    join: (source) => void members.set(source, { latest: [], answered: () => {} }),
    answered(source, metrics) {
      const member = members.get(source);
      if (member === undefined) return;
      member.latest = metrics;
      member.answered();
    },
    leave(source) {
      const member = members.get(source);
      if (member === undefined) return;
      members.delete(source);
      ended.push(member.latest.filter(({ type }) => KEPT_TYPES.includes(type)));
      member.answered();
    },
    read: () => (pending ??= collect()),
  };
}

function addUp(parts: readonly ProcessMetrics[]): Registry {
  return AggregatorRegistry.aggregate([...parts]);
}
