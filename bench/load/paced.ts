// Open load: requests are sent at a constant rate, also while earlier ones are pending. A latency
// is measured from the time at which its request was due, so that a stall of the server counts for
// all waiting requests. (autocannon's rate limit sends the requests of a second in one burst.) All
// requests are the same.

import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { send } from './http.ts';
import { isExpected, type LoadOptions, type LoadResult, type RequestWorkload } from './workload.ts';

export async function runPaced(
  workload: RequestWorkload,
  options: LoadOptions & { readonly requestsPerSecond: number },
): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections });
  const latenciesMs: number[] = [];
  const faults = new Set<string>();
  const pending: Promise<void>[] = [];
  const total = Math.ceil(options.requestsPerSecond * options.seconds);
  const startedAt = performance.now();

  const sendOne = async (dueAt: number) => {
    const { body } = workload;
    const answer = await send(workload.method, options.url + workload.path, {
      agent,
      headers: workload.headers,
      ...(typeof body === 'string' ? { body } : {}),
    });
    latenciesMs.push(performance.now() - dueAt);
    if (answer.status !== 200 || !isExpected(workload, answer.body)) faults.add(`${answer.status}: ${answer.body}`);
  };

  while (pending.length < total && faults.size === 0) {
    const dueCount = ((performance.now() - startedAt) * options.requestsPerSecond) / 1000;
    while (pending.length < Math.min(dueCount, total)) {
      const dueAt = startedAt + (pending.length * 1000) / options.requestsPerSecond;
      pending.push(sendOne(dueAt).catch((error: Error) => void faults.add(error.message)));
    }
    await sleep(1);
  }
  await Promise.all(pending);
  const elapsedMs = performance.now() - startedAt;
  agent.destroy();
  return { requests: latenciesMs.length, elapsedMs, latenciesMs, faults: [...faults] };
}
