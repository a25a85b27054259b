// How long to wait before a worker that has exited is replaced: short at first, twice as long after each short life, so that a fault
// that ends every worker at once does not keep the machine busy with starts.

const FIRST_MS = 100;
/** Long enough for a database to come back, short enough to need no operator. */
const LONGEST_MS = 30_000;
/** A worker that lived this long did not end for the reason of the one before. */
const HEALTHY_MS = 60_000;

export interface RestartDelay {
  /** @returns the milliseconds to wait after a worker that lived so long */
  next(livedMs: number): number;
}

export function createRestartDelay(): RestartDelay {
  let delayMs = FIRST_MS;
  return {
    next(livedMs) {
      if (livedMs >= HEALTHY_MS) delayMs = FIRST_MS;
      const now = delayMs;
      delayMs = Math.min(delayMs * 2, LONGEST_MS);
      return now;
    },
  };
}
