// The metrics of several processes, added up: what has been counted once stays counted, also when a process ends or does not answer.

import { beforeEach, expect, test } from '@jest/globals';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts';
import { createMetricsSum, type MetricsSum } from '../../src/metrics/metrics-sum.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';

interface Source {
  readonly metrics: Metrics;
  isSilent: boolean;
}

let sum: MetricsSum<Source>;
beforeEach(() => {
  sum = createMetricsSum<Source>(async (source) => {
    if (!source.isSilent) sum.answered(source, JSON.parse(JSON.stringify(await source.metrics.readAsJson())));
  });
});

/** @returns one that has seen so many requests, and a queue of one */
function joined(requests: number): Source {
  const source = { metrics: createMetrics(), isSilent: false };
  for (let n = 0; n < requests; n++) source.metrics.observeRequest('token', 200, 0.01);
  source.metrics.watchQueue('commit', () => 1);
  sum.join(source);
  return source;
}

const read = async (): Promise<Exposition> => parseExposition((await sum.read()).body);
const requestsIn = (exposition: Exposition) =>
  exposition.value('lanyard_http_request_duration_seconds_count', { endpoint: 'token' });
const queueIn = (exposition: Exposition) => exposition.value('lanyard_store_queue_depth', { queue: 'commit' });

test('all of them are added up, and what the adding process has dropped of its log', async () => {
  joined(3);
  joined(4);
  const exposition = await read();
  expect([requestsIn(exposition), queueIn(exposition)]).toEqual([7, 2]);
  expect(exposition.types.get('lanyard_log_lines_dropped_total')).toBe('counter');
});

test('when they end, their counters stay and their gauges do not', async () => {
  for (let n = 1; n <= 20; n++) {
    const source = joined(1);
    const alive = await read();
    expect([requestsIn(alive), queueIn(alive)]).toEqual([n, 1]);
    sum.leave(source);
    const ended = await read();
    expect([requestsIn(ended), queueIn(ended)]).toEqual([n, 0]);
  }
});

test('one that is silent is counted as at its last answer, and once more when it has ended', async () => {
  const source = joined(5);
  const other = joined(1);
  await read();
  source.isSilent = true;
  source.metrics.observeRequest('token', 200, 0.01);
  other.metrics.observeRequest('token', 200, 0.01);
  const silent = await read();
  expect([requestsIn(silent), queueIn(silent)]).toEqual([7, 2]);
  const reading = read();
  sum.leave(source);
  const ended = await reading;
  expect([requestsIn(ended), queueIn(ended)]).toEqual([7, 1]);
});

test('concurrent scrapes share one result', async () => {
  joined(1);
  const [first, second] = await Promise.all([sum.read(), sum.read()]);
  expect(first).toBe(second);
});
