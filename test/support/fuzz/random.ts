// Pseudo-random choices that a seed repeats: the state is hashed once for each number.

import { createHash, randomBytes } from 'node:crypto';

export interface Random {
  /** from 0 to below `limit` */
  integer(limit: number): number;
  pick<T>(choices: readonly T[]): T;
  /** @param probability from 0 to 1 */
  chance(probability: number): boolean;
}

export function createRandom(seed: string): Random {
  let count = 0;
  const next = () => createHash('sha256').update(`${seed} ${count++}`).digest().readUInt32BE() / 2 ** 32;
  const integer = (limit: number) => Math.floor(next() * limit);
  return {
    integer,
    pick: (choices) => choices[integer(choices.length)] as (typeof choices)[number],
    chance: (probability) => next() < probability,
  };
}

export interface FuzzPlan {
  readonly seed: string;
  /** the indexes of the cases */
  readonly cases: readonly number[];
}

/**
 * `LANYARD_TEST_SEED=abc` repeats a run, `LANYARD_TEST_SEED=abc/17` one case of it, and
 * `LANYARD_TEST_FUZZ_CASES=5000` runs more cases.
 */
export function readFuzzPlan(defaultCount: number): FuzzPlan {
  const { LANYARD_TEST_SEED: given = randomBytes(6).toString('hex'), LANYARD_TEST_FUZZ_CASES: count } = process.env;
  const [seed = '', only] = given.split('/');
  if (only !== undefined) return { seed, cases: [Number(only)] };
  return { seed, cases: [...Array(Number(count ?? defaultCount)).keys()] };
}
