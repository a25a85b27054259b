// `npm run bench`: Lanyard against the bare engine, side by side. README.md beside this file says what is measured and how to
// read it. The report goes to stdout, what is going on to stderr. However it ends, the servers are stopped and their folders
// removed. The exit code is 1 when anything failed; a target that was missed is no failure.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createCleanups } from './cleanups.ts';
import { parseOptions } from './options.ts';
import { ratioChart } from './report/chart.ts';
import { report } from './report/report.ts';
import type { Results } from './results.ts';
import { run } from './run.ts';

const cleanups = createCleanups();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-bench-'));
  cleanups.add(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const results = await run({ options, folder, databaseUrl: process.env.DATABASE_URL, cleanups, say });
  process.stdout.write(report(results));
  if (options.outPath !== undefined) await write(options.outPath, `${JSON.stringify(results, undefined, 2)}\n`);
  if (options.chartPath !== undefined) await write(options.chartPath, ratioChart(results));
  if (hasFailed(results)) process.exitCode = 1;
}

function hasFailed({ measurements, faults }: Results): boolean {
  return faults.length > 0 || measurements.some((row) => row.faults.length > 0);
}

async function write(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  say(`wrote ${path}`);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say('Stopping.');
    void cleanups.run().then(() => process.exit(130));
  });
}
main()
  .catch((error: Error) => {
    say(error.message);
    process.exitCode = 1;
  })
  .finally(cleanups.run);
