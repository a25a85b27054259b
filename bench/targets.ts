// The performance targets of Lanyard, as data. Of several connection counts the worse one decides.

import { type Results, toRatios } from './results.ts';

export interface Target {
  readonly text: string;
  readonly unit: '' | 'µs' | 'ms' | 'MB';
  readonly atLeast?: number;
  readonly atMost?: number;
  /** undefined: not measured in this run */
  readonly value: (results: Results) => number | undefined;
}

const MEGABYTE = 1024 * 1024;

export const TARGETS: readonly Target[] = [
  rate('client_credentials, opaque, durable: rate', 'client-credentials-opaque', 1),
  rate('client_credentials, JWT: rate', 'client-credentials-jwt', 1),
  rate('introspection, opaque: rate', 'introspection-opaque', 1),
  rate('introspection, JWT: rate', 'introspection-jwt', 0.9),
  rate('userinfo: rate', 'userinfo', 1),
  rate('code exchange, durable: rate', 'code-exchange', 0.9),
  rate('refresh with rotation, durable: rate', 'refresh-rotation', 0.9),
  rate('discovery document: rate', 'discovery', 2),
  rate('public keys (JWKS): rate', 'jwks', 1.5),
  {
    text: 'PostgreSQL CPU per issued opaque token at 64 connections',
    unit: 'µs',
    atMost: 40,
    value: ({ measurements }) =>
      measurements.find(
        (row) =>
          row.operation === 'client-credentials-opaque' &&
          row.subject === 'lanyard' &&
          row.connections === 64 &&
          row.faults.length === 0,
      )?.postgresCpuUs,
  },
  {
    text: 'CPU per token, 10,000 clients in use against 1',
    unit: '',
    atMost: 1.1,
    value: ({ manyClients }) => {
      if (manyClients === undefined || manyClients.clientCount < 10_000) return undefined;
      const { oneClientCpuUs, manyClientsCpuUs } = manyClients;
      return oneClientCpuUs && manyClientsCpuUs && manyClientsCpuUs / oneClientCpuUs;
    },
  },
  {
    text: 'find and insert, 5 million token rows against none',
    unit: '',
    atLeast: 0.75,
    // It takes too long for this bench.
    value: () => undefined,
  },
  {
    text: 'p99 at half the maximal rate, against the bare engine at the same rate',
    unit: '',
    atMost: 1.2,
    value: ({ halfRate }) => worst(halfRate.map((one) => one.lanyardP99Ms / one.engineP99Ms)),
  },
  {
    text: 'cold start to first token, existing data',
    unit: 'ms',
    atMost: 1_000,
    value: ({ coldStart }) => coldStart?.existing.tokenMs,
  },
  {
    text: 'cold start to first token, first start',
    unit: 'ms',
    atMost: 2_000,
    value: ({ coldStart }) => coldStart?.first.tokenMs,
  },
  {
    text: 'resident memory, idle, one worker',
    unit: 'MB',
    atMost: 120,
    value: ({ coldStart }) => coldStart?.existing.idleBytes && coldStart.existing.idleBytes / MEGABYTE,
  },
  {
    text: 'resident memory, under load, one worker',
    unit: 'MB',
    atMost: 350,
    value: ({ memoryUnderLoadBytes }) => memoryUnderLoadBytes && memoryUnderLoadBytes / MEGABYTE,
  },
];

/** The ratio of Lanyard's rate to that of the bare engine. */
function rate(text: string, operation: string, atLeast: number): Target {
  return {
    text,
    unit: '',
    atLeast,
    value: ({ measurements }) => {
      const ratios = toRatios(measurements).filter((ratio) => ratio.operation === operation);
      return ratios.length === 0 ? undefined : Math.min(...ratios.map((ratio) => ratio.requestsPerSecond));
    },
  };
}

function worst(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}
