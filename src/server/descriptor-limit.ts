// How many connections a process may hold. One that runs out of file descriptors loses more than the next connection: it cannot reach
// the database either, and a worker that could not take a connection is passed none any more, since Node's primary waits for its
// answer to a message that has not arrived.

import { readFile } from 'node:fs/promises';

/** Modules, pipes, threads, the metrics listener, outbound requests, the jobs: some 40 in an idle process. */
const OTHER_DESCRIPTORS = 100;
/** Connections may take as much of the rest; what is needed beside them grows with the load. */
const SHARE_OF_CONNECTIONS = 0.75;

/** @returns undefined where the system has no limit, or does not tell it (only Linux does) */
export async function readDescriptorLimit(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  // Node raises the soft limit to the hard one when it starts.
  const soft = /^Max open files +(\d+) /m.exec(limits)?.[1];
  return soft === undefined ? undefined : Number(soft);
}

/** @param listeners over which they are divided, so that one that is full does not close the other */
export function connectionLimit(
  descriptorLimit: number | undefined,
  { databasePoolSize, listeners }: { databasePoolSize: number; listeners: number },
): number | undefined {
  if (descriptorLimit === undefined) return undefined;
  const rest = descriptorLimit - OTHER_DESCRIPTORS - databasePoolSize;
  return Math.max(1, Math.floor((rest * SHARE_OF_CONNECTIONS) / listeners));
}
