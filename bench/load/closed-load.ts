// Closed load by autocannon: each connection sends its next request when it has the answer to the last one. Times are taken
// from autocannon's events, since its own histogram keeps whole milliseconds only.

import autocannon from 'autocannon';
import type { LoadOptions, LoadResult, RequestWorkload } from './workload.ts';

/** How often autocannon looks whether it is time to stop. */
const SAMPLE_INTERVAL_MS = 50;

export async function runRequests(workload: RequestWorkload, options: LoadOptions): Promise<LoadResult> {
  const { connections } = options;
  const { body, onAnswer, budget } = workload;
  const latenciesMs: number[] = [];
  const faults = new Set<string>();
  const startedAt = performance.now();
  let endedAt = startedAt;

  const run = autocannon({
    url: options.url,
    connections,
    ...(budget === undefined ? { duration: options.seconds } : { amount: Math.max(budget, connections) }),
    sampleInt: SAMPLE_INTERVAL_MS,
    bailout: 1,
    requests: [
      {
        method: workload.method,
        path: workload.path,
        headers: { ...workload.headers },
        ...(typeof body === 'string' ? { body } : {}),
        ...(typeof body === 'function' ? { setupRequest: (request) => ({ ...request, body: body() }) } : {}),
        onResponse(status, text) {
          if (status < 200 || status > 299) faults.add(`status ${status}: ${text.slice(0, 200)}`);
          else if (!workload.isRight(text)) faults.add(`wrong answer: ${text.slice(0, 200)}`);
          else onAnswer?.(text);
          if (faults.size > 0) run.stop();
        },
      },
    ],
  });
  run.on('response', (_client: unknown, _status: number, _bytes: number, milliseconds: number) => {
    latenciesMs.push(milliseconds);
    endedAt = performance.now();
  });
  run.on('reqError', (error: Error) => faults.add(error.message));
  const result = await run;
  if (result.errors > 0 && faults.size === 0) faults.add(`${result.errors} connection errors`);
  if (latenciesMs.length === 0) faults.add('no answer at all');
  return { requests: latenciesMs.length, elapsedMs: endedAt - startedAt, latenciesMs, faults: [...faults] };
}
