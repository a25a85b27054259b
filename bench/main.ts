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

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

let isBreakingOff = false;

async function breakOff(reason: string): Promise<void> {
  // To say why may fail as well, and that again.
  if (isBreakingOff) return;
  isBreakingOff = true;
  say(reason);
  await cleanups.run();
  process.exit(1);
}

// Whoever reads the report may stop reading (`npm run bench | head`); the servers must not outlive us.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => void breakOff('nobody reads any more'));
process.on('uncaughtException', (error) => void breakOff(String(error.stack)));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    void breakOff('Stopping.');
  });
}
main()
  .catch((error: Error) => {
    say(error.message);
    process.exitCode = 1;
  })
  .finally(cleanups.run);
