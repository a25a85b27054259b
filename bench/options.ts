// The command line of the bench.

import { parseArgs } from 'node:util';

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: readonly number[];
  /** ids of operations and further measurements; [] means all */
  readonly only: readonly string[];
  readonly isQuick: boolean;
  /** number of registered clients in the comparison of many against one */
  readonly clientCount: number;
  /** undefined: not written */
  readonly outPath: string | undefined;
  readonly chartPath: string | undefined;
  readonly foreign: { readonly url: string; readonly clientId: string; readonly clientSecret: string } | undefined;
}

/** @throws TypeError with a text for the user */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      clients: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
      chart: { type: 'string' },
      url: { type: 'string' },
      'client-id': { type: 'string' },
      'client-secret': { type: 'string' },
    },
  });
  const isQuick = values.quick;
  // A partial run must not overwrite the results of a complete one.
  const isWhole = !isQuick && values.only.length === 0 && values.url === undefined;
  return {
    isQuick,
    rounds: positive('rounds', values.rounds ?? (isQuick ? '1' : '5')),
    seconds: positive('seconds', values.seconds ?? (isQuick ? '0.3' : '5')),
    connections: (values.connections ?? (isQuick ? '16' : '16,64')).split(',').map((n) => positive('connections', n)),
    clientCount: positive('clients', values.clients ?? (isQuick ? '200' : '10000')),
    only: values.only.flatMap((list) => list.split(',')),
    outPath: values.out ?? (isWhole ? `bench/results/${new Date().toISOString().slice(0, 10)}.json` : undefined),
    chartPath: values.chart ?? (isWhole ? 'docs/performance.svg' : undefined),
    foreign: toForeign(values.url, values['client-id'], values['client-secret']),
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`--${name} must be a number above zero, not ${text}`);
  return value;
}

function toForeign(url?: string, clientId?: string, clientSecret?: string): Options['foreign'] {
  if (url === undefined) return undefined;
  if (clientId === undefined || clientSecret === undefined) {
    throw new TypeError('--url needs --client-id and --client-secret');
  }
  return { url: url.replace(/\/$/, ''), clientId, clientSecret };
}
