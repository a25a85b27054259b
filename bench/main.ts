// `npm run bench`: Lanyard against the bare engine, side by side. README.md beside this file says what is measured and how to
// read it. Order: options, servers, operations, further measurements, report; whatever happens, the servers are stopped and
// their folders removed.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Measurement, measureOperation } from './measurements/rounds.ts';
import { OPERATIONS } from './operations/all.ts';
import { USER_COUNT } from './operations/sign-in.ts';
import { type Options, parseOptions } from './options.ts';
import { comparisonTable } from './report/table.ts';
import { startBare } from './subjects/bare.ts';
import { startLanyard } from './subjects/lanyard.ts';

/** Undone in reverse order. */
const cleanups: (() => Promise<unknown>)[] = [];

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-bench-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const measurements = await compare(options, folder);
  process.stdout.write(`${comparisonTable(measurements)}\n`);
  if (measurements.some(({ faults }) => faults.length > 0)) process.exitCode = 1;
}

async function compare(options: Options, folder: string): Promise<Measurement[]> {
  const bare = await startBare({ folder });
  cleanups.push(() => bare.stop());
  const lanyard = await startLanyard({ folder, database: undefined, userCount: USER_COUNT });
  cleanups.push(() => lanyard.stop());
  const measurements: Measurement[] = [];
  const wanted = OPERATIONS.filter(({ id }) => options.only.length === 0 || options.only.includes(id));
  for (const operation of wanted) {
    for (const connections of options.connections) {
      say(`${operation.id}, ${connections} connections`);
      measurements.push(...(await measureOperation(operation, [bare, lanyard], { ...options, connections })));
    }
  }
  return measurements;
}

async function cleanUp(): Promise<void> {
  for (const step of cleanups.splice(0).reverse()) await step();
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void cleanUp().finally(() => process.exit(130));
  });
}
main()
  .catch((error: Error) => {
    say(error.message);
    process.exitCode = 1;
  })
  .finally(cleanUp);
