// Closed load by loops: each repeats a pass of several sequential requests until the time is over,
// and finishes its last pass.

import type { LoadOptions, LoadResult, LoopWorkload } from './workload.ts';

export async function runLoops(workload: LoopWorkload, options: LoadOptions): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  const faults = new Set<string>();
  const startedAt = performance.now();
  const endsAt = startedAt + options.seconds * 1000;
  const loop = async (_: unknown, index: number) => {
    for (let begin = startedAt; begin < endsAt && faults.size === 0; ) {
      begin = performance.now();
      await workload.pass(index).catch((error: Error) => faults.add(error.message));
      const end = performance.now();
      latenciesMs.push(end - begin);
      begin = end;
    }
  };
  await Promise.all(Array.from({ length: options.connections }, loop));
  const elapsedMs = performance.now() - startedAt;
  workload.end();
  return {
    requests: latenciesMs.length,
    elapsedMs,
    latenciesMs,
    faults: [...faults],
  };
}
