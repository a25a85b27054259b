// How long to wait before a worker that has died is replaced: not at all worth mentioning the first time, longer each time that
// one dies young, so that a fault that kills every worker at once does not become the main occupation of the machine.

const FIRST_MS = 100;
/** Long enough for a database to come back; short enough that nobody has to be called. */
const LONGEST_MS = 30_000;
/** Whoever lived this long did not die of what killed the one before. */
const HEALTHY_MS = 60_000;

export interface BackOff {
  /** @returns milliseconds to wait now */
  next(livedMs: number): number;
}

export function createBackOff(): BackOff {
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
