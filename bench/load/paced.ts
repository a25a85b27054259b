// Open load: requests leave at an even pace, whether the ones before have been answered or not. A latency counts from the moment
// at which its request was due, so that a server that stalls pays for everybody who waits meanwhile. (autocannon's own rate
// limit sends a second's requests at once and then rests, which is a different question.) All requests are the same one.

import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { send } from './http.ts';
import { isRight, type LoadOptions, type LoadResult, type RequestWorkload } from './workload.ts';

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
    if (answer.status !== 200 || !isRight(workload, answer.body)) faults.add(`${answer.status}: ${answer.body}`);
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
