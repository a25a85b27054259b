// What asks the process to stop.

/** SIGHUP: the terminal was closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const PARENT_POLL_MS = 1_000;

/**
 * The handlers stay: npm repeats the SIGINT of the terminal, and the second signal must not end the process while it stops.
 * @param endsWithParent whether the end of the parent process asks for a stop too: npm does not pass on what ends it at once
 * @returns a signal that is aborted when the process is to stop
 */
export function listenForStop({ endsWithParent = false } = {}): AbortSignal {
  const request = new AbortController();
  const stop = () => request.abort();
  for (const signal of SIGNALS) process.on(signal, stop);
  if (endsWithParent) {
    const parentPid = process.ppid;
    setInterval(() => {
      if (process.ppid !== parentPid) stop();
    }, PARENT_POLL_MS).unref();
  }
  return request.signal;
}
