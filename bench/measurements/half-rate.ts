// The latency of a server that is not saturated: p99 at half of Lanyard's maximum rate, and of the
// bare engine at the same rate.

import { runPaced } from '../load/paced.ts';
import { median, percentile, type RequestWorkload } from '../load/workload.ts';
import type { Operation } from '../operations/operation.ts';
import type { Subject } from '../subjects/subject.ts';
import { runWorkload } from './rounds.ts';

export interface HalfRate {
  readonly operation: string;
  readonly requestsPerSecond: number;
  readonly engineP99Ms: number;
  readonly lanyardP99Ms: number;
}

const CONNECTIONS = 64;

export async function measureHalfRate(
  operation: Operation,
  subjects: { readonly engine: Subject; readonly lanyard: Subject },
  options: { readonly rounds: number; readonly seconds: number },
): Promise<HalfRate> {
  const plan = { connections: CONNECTIONS, seconds: options.seconds };
  const full = await runWorkload(await operation.prepare(subjects.lanyard, plan), {
    url: subjects.lanyard.url,
    ...plan,
  });
  assertFaultless(operation, full.faults);
  const requestsPerSecond = (full.requests * 1000) / full.elapsedMs / 2;

  const p99Ms = { engine: [] as number[], lanyard: [] as number[] };
  for (let round = 0; round < options.rounds; round++) {
    const names = round % 2 === 0 ? (['engine', 'lanyard'] as const) : (['lanyard', 'engine'] as const);
    for (const name of names) {
      const workload = (await operation.prepare(subjects[name], plan)) as RequestWorkload;
      const result = await runPaced(workload, { url: subjects[name].url, ...plan, requestsPerSecond });
      assertFaultless(operation, result.faults);
      p99Ms[name].push(
        percentile(
          [...result.latenciesMs].sort((a, b) => a - b),
          0.99,
        ),
      );
    }
  }
  return {
    operation: operation.id,
    requestsPerSecond,
    engineP99Ms: median(p99Ms.engine),
    lanyardP99Ms: median(p99Ms.lanyard),
  };
}

function assertFaultless(operation: Operation, faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${operation.id} at half the rate: ${faults.join('; ')}`);
}
