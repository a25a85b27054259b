// How long the tests wait. A test waits for what happens, by polling; the deadlines here are only
// reached by what never happens, so they are long. LANYARD_TEST_PATIENCE multiplies them, for a
// machine that is busy with other things: `LANYARD_TEST_PATIENCE=3`.

import { setTimeout as sleep } from 'node:timers/promises';

const patience = Number(process.env.LANYARD_TEST_PATIENCE ?? 1);
if (!(patience > 0)) throw new Error('LANYARD_TEST_PATIENCE must be a number greater than 0');

/**
 * The limit of Jest for each test and hook. Long enough for a few waits, so that a failed wait can
 * name itself.
 */
export const TEST_TIMEOUT_MS = 180_000 * patience;
/** The deadline of each wait. */
export const WAIT_MS = 60_000 * patience;
const POLL_MS = 5;

/**
 * Resolves when the condition holds.
 * @throws Error that names `what` when it does not hold within WAIT_MS
 */
export async function until(condition: () => boolean | Promise<boolean>, what = 'what was waited for'): Promise<void> {
  for (const deadline = performance.now() + WAIT_MS; !(await condition()); await sleep(POLL_MS)) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${WAIT_MS} ms`);
  }
}

/**
 * Repeats the expectation until it holds.
 * @returns its value
 * @throws its last error when it does not hold within WAIT_MS
 */
export async function eventually<T>(expectation: () => T | Promise<T>): Promise<T> {
  for (const deadline = performance.now() + WAIT_MS; ; await sleep(POLL_MS)) {
    try {
      return await expectation();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

/**
 * Resolves when the clock has reached that second: for lifetimes, which are whole seconds.
 * @param epochSeconds such as `exp`
 */
export function untilSecond(epochSeconds: number): Promise<void> {
  return until(() => Date.now() / 1000 >= epochSeconds, `the second ${epochSeconds}`);
}

/** Resolves in a later second than the call: times such as `iat` are whole seconds. */
export function untilNextSecond(): Promise<void> {
  return untilSecond(Math.floor(Date.now() / 1000) + 1);
}
