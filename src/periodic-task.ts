// Work that is repeated for as long as the server runs.

import { setTimeout as sleep } from 'node:timers/promises';

export interface PeriodicTaskOptions {
  readonly intervalMs: number;
  /** The work is tried again after the interval. */
  readonly onError: (error: unknown) => void;
}

/**
 * Begins at once.
 * @param work receives a signal that is aborted when it should end early
 * @returns a function that stops it, and resolves when the work underway has ended
 */
export function startPeriodicTask(
  work: (signal: AbortSignal) => Promise<void>,
  { intervalMs, onError }: PeriodicTaskOptions,
): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await work(signal).catch(onError);
      await sleep(intervalMs, undefined, { ref: false, signal }).catch(() => {});
    }
  }

  const ended = run();
  return async () => {
    stopping.abort();
    await ended;
  };
}
