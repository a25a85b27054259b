// The command line of chaos.

import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

export interface Options {
  /** how long faults are injected */
  readonly seconds: number;
  readonly seed: number;
  /** not faults, but that many changes of the admin API, each asked for on every node at once */
  readonly changes: number | undefined;
  /** names of faults; [] means all */
  readonly only: readonly string[];
}

/** @throws TypeError with a text for the user */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '600' },
      seed: { type: 'string', default: String(randomInt(1_000_000)) },
      changes: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
    },
  });
  return {
    seconds: positive('seconds', values.seconds),
    seed: positive('seed', values.seed),
    changes: values.changes === undefined ? undefined : positive('changes', values.changes),
    only: values.only.flatMap((list) => list.split(',')),
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`--${name} must be a number above zero, not ${text}`);
  return value;
}
