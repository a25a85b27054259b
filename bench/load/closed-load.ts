// Closed load: each connection sends its next request after the response to the last one. It uses
// wrk where it is installed, and autocannon elsewhere, with the times from its events, because its
// histogram has whole milliseconds only.

import autocannon from 'autocannon';
import { type BodyQueue, isExpected, type LoadOptions, type LoadResult, type RequestWorkload } from './workload.ts';
import { findWrk, runWithWrk } from './wrk.ts';

/** How often autocannon checks whether to stop. */
const SAMPLE_INTERVAL_MS = 50;

export const LOAD_GENERATOR = findWrk() === undefined ? 'autocannon' : 'wrk';

export function runRequests(workload: RequestWorkload, options: LoadOptions): Promise<LoadResult> {
  const wrk = findWrk();
  return wrk === undefined ? runWithAutocannon(workload, options) : runWithWrk(wrk, workload, options);
}

export async function runWithAutocannon(workload: RequestWorkload, options: LoadOptions): Promise<LoadResult> {
  const { connections } = options;
  const { body } = workload;
  const bodies = typeof body === 'object' ? body : undefined;
  const queue = [...(bodies?.queue ?? [])];
  let position = 0;
  const takeBody = () => {
    if (position === queue.length && bodies?.budget === undefined) position = 0;
    return queue[position++] as string;
  };
  const latenciesMs: number[] = [];
  const faults = new Set<string>();
  const startedAt = performance.now();
  let endedAt = startedAt;

  const run = autocannon({
    url: options.url,
    connections,
    ...(bodies?.budget === undefined
      ? { duration: options.seconds }
      : { amount: Math.max(bodies.budget, connections) }),
    sampleInt: SAMPLE_INTERVAL_MS,
    bailout: 1,
    requests: [
      {
        method: workload.method,
        path: workload.path,
        headers: { ...workload.headers },
        ...(typeof body === 'string' ? { body } : {}),
        ...(bodies === undefined ? {} : { setupRequest: (request) => ({ ...request, body: takeBody() }) }),
        onResponse(status, text) {
          if (status < 200 || status > 299) faults.add(`status ${status}: ${text.slice(0, 200)}`);
          else if (!isExpected(workload, text)) faults.add(`wrong answer: ${text.slice(0, 200)}`);
          else if (bodies?.next !== undefined) queue.push(nextBody(bodies.next, text));
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
  if (latenciesMs.length === 0) faults.add('no response');
  return { requests: latenciesMs.length, elapsedMs: endedAt - startedAt, latenciesMs, faults: [...faults] };
}

function nextBody({ before, member }: NonNullable<BodyQueue['next']>, answer: string): string {
  return before + String((JSON.parse(answer) as Record<string, unknown>)[member]);
}
