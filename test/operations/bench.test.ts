// The bench: what it counts and how it compares. That it runs at all, `npm run bench -- --quick` shows in CI.

import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type runRequests, runWithAutocannon } from '../../bench/load/closed-load.ts';
import { type LoadOptions, median, percentile } from '../../bench/load/workload.ts';
import { findWrk, runWithWrk } from '../../bench/load/wrk.ts';
import type { Measurement } from '../../bench/measurements/rounds.ts';
import { ratioChart } from '../../bench/report/chart.ts';
import { report, verdict } from '../../bench/report/report.ts';
import { type Results, toRatios } from '../../bench/results.ts';
import { watchProcesses } from '../../bench/subjects/processes.ts';
import { TARGETS } from '../../bench/targets.ts';

function row(subject: 'engine' | 'lanyard', members: Partial<Measurement> = {}): Measurement {
  return {
    operation: 'userinfo',
    subject,
    connections: 16,
    requestsPerSecond: 1_000,
    p50Ms: 1,
    p99Ms: 2,
    nodeCpuUs: 200,
    postgresCpuUs: 0,
    requestsPerSecondByRound: [],
    faults: [],
    ...members,
  };
}

function results(measurements: readonly Measurement[]): Results {
  return {
    startedAt: '2026-01-01T00:00:00.000Z',
    machine: { platform: 'linux x64', cpu: 'a CPU', cores: 2, node: '24.0.0' },
    loadGenerator: 'wrk',
    rounds: 1,
    seconds: 1,
    isQuick: true,
    measurements,
    halfRate: [],
    faults: [],
  };
}

test('median and percentile are those of the sorted values', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  const hundred = Array.from({ length: 100 }, (_, index) => index);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 0.5)).toBe(50);
});

describe('a ratio', () => {
  test('is that of the rates, and of all CPU time', () => {
    const rows = [row('engine'), row('lanyard', { requestsPerSecond: 500, postgresCpuUs: 100 })];
    expect(toRatios(rows)).toEqual([{ operation: 'userinfo', connections: 16, requestsPerSecond: 0.5, cpu: 1.5 }]);
  });

  test('does not exist when either row is void', () => {
    const isVoid = { faults: ['status 500'] };
    expect(toRatios([row('engine', isVoid), row('lanyard')])).toEqual([]);
    expect(toRatios([row('engine'), row('lanyard', isVoid)])).toEqual([]);
  });
});

test('what the servers do not do alike is said below the table', () => {
  const rows = [row('engine', { operation: 'introspection-jwt' }), row('lanyard', { operation: 'introspection-jwt' })];
  expect(report(results(rows))).toContain('(1) The engine cannot introspect JWTs');
  expect(report(results([row('engine'), row('lanyard')]))).not.toContain('introspect JWTs');
});

test('a void row is shown with its reason', () => {
  const text = report(results([row('engine'), row('lanyard', { faults: ['status 401: no'] })]));
  expect(text).toMatch(/userinfo +\| 16 +\| lanyard \| void/);
  expect(text).toContain('- userinfo, 16 connections, lanyard: status 401: no');
});

test('a target is met, missed or not measured; of several rows the worse one decides', () => {
  const target = TARGETS.find(({ text }) => text.startsWith('userinfo'));
  if (target === undefined) throw new Error('no such target');
  const slow = { connections: 64, requestsPerSecond: 900 };
  const fast = [row('engine'), row('lanyard')];
  const both = [...fast, row('engine', { connections: 64 }), row('lanyard', slow)];
  expect(verdict(target, target.value(results([])))).toBe('not measured');
  expect(verdict(target, target.value(results(fast)))).toBe('met');
  expect(verdict(target, target.value(results(both)))).toBe('missed');
});

test('the chart has a bar for each ratio and the line at 1.0', () => {
  const svg = ratioChart(results([row('engine'), row('lanyard', { requestsPerSecond: 500 })]));
  expect(svg.match(/<rect class="(reached|below)"/g)).toHaveLength(1);
  expect(svg).toContain('>0.50</text>');
  expect(svg).toContain('<line class="one"');
});

const GENERATORS: [string, typeof runRequests | undefined][] = [
  ['autocannon', runWithAutocannon],
  // Debian's package; where it is missing, the bench does without it as well.
  ['wrk', findWrk() === undefined ? undefined : (...load) => runWithWrk(findWrk() as string, ...load)],
];

describe.each(GENERATORS.filter(([, run]) => run !== undefined))('the load of %s', (_name, generator) => {
  const run = generator as typeof runRequests;
  const workload = { kind: 'requests', method: 'POST', headers: { 'x-bench': 'yes' } } as const;
  let bodies: string[];
  let server: Server;
  let options: LoadOptions;

  beforeEach(async () => {
    const received: string[] = [];
    bodies = received;
    server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      received.push(body);
      response.statusCode = request.url === '/refused' || request.headers['x-bench'] !== 'yes' ? 401 : 200;
      response.end(JSON.stringify({ active: false, next: `${body.length}` }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    options = { url: `http://127.0.0.1:${port}`, connections: 2, seconds: 1 };
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('calls an answer a fault that is not right', async () => {
    const wrong = await run({ ...workload, path: '/', wanted: ['"active":true'] }, options);
    expect(wrong.faults).toEqual(['wrong answer: {"active":false,"next":"0"}']);
    const refused = await run({ ...workload, path: '/refused', wanted: [] }, options);
    expect(refused.faults).toEqual(['status 401: {"active":false,"next":"0"}']);
  });

  test('sends one request for as long as it should', async () => {
    const { requests, elapsedMs, latenciesMs, faults } = await run(
      { ...workload, path: '/', body: 'a=b&c=d', wanted: ['"active":false'] },
      options,
    );
    expect(faults).toEqual([]);
    expect(new Set(bodies)).toEqual(new Set(['a=b&c=d']));
    expect(requests).toBeGreaterThan(10);
    expect(elapsedMs).toBeGreaterThan(500);
    expect(Math.min(...latenciesMs)).toBeGreaterThan(0);
  });

  test('uses up what it was given, and goes on with what comes back', async () => {
    const next = { before: 'token=', member: 'next' };
    const body = { queue: ['one', 'three'], budget: 20, next };
    // On one connection, where answers cannot overtake each other.
    const { requests, faults } = await run(
      { ...workload, path: '/', body, wanted: [] },
      { ...options, connections: 1 },
    );
    expect([requests, faults]).toEqual([20, []]);
    expect(bodies.slice(0, 4)).toEqual(['one', 'three', 'token=3', 'token=5']);
  });

  test('goes through what it was given again and again', async () => {
    const body = { queue: ['one', 'two', 'three'] };
    expect((await run({ ...workload, path: '/', body, wanted: [] }, options)).faults).toEqual([]);
    expect(new Set(bodies)).toEqual(new Set(['one', 'two', 'three']));
    expect(bodies.length).toBeGreaterThan(10);
  });
});

test('a process is charged for what it computes, on Linux, which alone has /proc', async () => {
  const processes = watchProcesses(process.pid);
  const before = await processes.cpu();
  if (process.platform !== 'linux') {
    expect([before, await processes.residentBytes()]).toEqual([undefined, undefined]);
    return;
  }
  const cpu = process.cpuUsage();
  while (process.cpuUsage(cpu).user < 200_000);
  const after = await processes.cpu();
  expect((after?.nodeMs ?? 0) - (before?.nodeMs ?? 0)).toBeGreaterThan(50);
  expect(await processes.residentBytes()).toBeGreaterThan(10_000_000);
});
