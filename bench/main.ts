// `npm run bench`: Lanyard against the bare engine. README.md explains what is measured and how to
// read it. The report goes to stdout, progress to stderr. The servers are always stopped and their
// folders removed. The exit code is 1 after an error; a missed target is not an error.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createCleanups, say } from './cleanups.ts';
import { parseOptions } from './options.ts';
import { ratioChart } from './report/chart.ts';
import { report } from './report/report.ts';
import type { Results } from './results.ts';
import { run } from './run.ts';
import { stopAllChildren } from './subjects/child.ts';

const cleanups = createCleanups();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-bench-'));
  cleanups.add(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  cleanups.add(stopAllChildren);
  const results = await run({ options, folder, databaseUrl: process.env.DATABASE_URL, cleanups, say });
  if (isBreakingOff) return;
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

let isBreakingOff = false;

async function abort(reason: string): Promise<void> {
  // Writing the reason may fail too, and end up here again.
  if (isBreakingOff) return;
  isBreakingOff = true;
  say(reason);
  await cleanups.run();
  process.exit(1);
}

// The reader may close the pipe (`npm run bench | head`); the servers must be stopped then too.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => void abort('the output was closed'));
process.on('uncaughtException', (error) => void abort(String(error.stack)));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    void abort('Stopping.');
  });
}
main()
  .catch((error: Error) => {
    say(error.message);
    process.exitCode = 1;
  })
  .finally(cleanups.run);
