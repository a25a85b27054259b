// Resident memory of the Node process under full load.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Operation } from '../operations/operation.ts';
import type { Subject } from '../subjects/subject.ts';
import { runWorkload } from './rounds.ts';

const CONNECTIONS = 64;
const SAMPLE_INTERVAL_MS = 100;

/** @returns the maximum in bytes; undefined where /proc does not exist */
export async function measureMemoryUnderLoad(
  operations: readonly Operation[],
  lanyard: Subject,
  options: { readonly seconds: number },
): Promise<number | undefined> {
  const plan = { connections: CONNECTIONS, seconds: options.seconds };
  let mostBytes: number | undefined;
  for (const operation of operations) {
    const workload = await operation.prepare(lanyard, plan);
    let isOver = false;
    const running = runWorkload(workload, { url: lanyard.url, ...plan }).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const bytes = await lanyard.processes?.residentBytes();
      if (bytes !== undefined) mostBytes = Math.max(mostBytes ?? 0, bytes);
      await sleep(SAMPLE_INTERVAL_MS);
    }
    const { faults } = await running;
    if (faults.length > 0) throw new Error(`${operation.id}, memory: ${faults.join('; ')}`);
  }
  return mostBytes;
}
