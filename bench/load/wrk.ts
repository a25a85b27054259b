// Closed load by wrk, where it is installed (Debian's package `wrk`): it needs a tenth of the CPU
// of a generator in JavaScript, which leaves more for the servers on a machine with few cores.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { LoadOptions, LoadResult, RequestWorkload } from './workload.ts';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('./wrk.lua', import.meta.url));
const OUTPUT_BYTES = 4 * 1024 * 1024;

/** undefined: not installed */
export function findWrk(): string | undefined {
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, 'wrk')).find((path) => existsSync(path));
}

export async function runWithWrk(path: string, workload: RequestWorkload, options: LoadOptions): Promise<LoadResult> {
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-wrk-'));
  try {
    const planFile = join(folder, 'plan');
    await writeFile(planFile, planOf(workload, options));
    // wrk takes whole seconds; it stops earlier when the prepared requests are used up.
    const seconds = Math.max(1, Math.round(options.seconds));
    const args = ['-t', '1', '-c', String(options.connections), '-d', `${seconds}s`, '--timeout', '10s', '-s', SCRIPT];
    const { stdout } = await run(path, [...args, options.url, '--', planFile], { maxBuffer: OUTPUT_BYTES });
    return readReport(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The plan for wrk.lua: lines of a word, a tab and a text. */
function planOf({ method, path, headers, wanted, body }: RequestWorkload, { connections }: LoadOptions): string {
  const lines: [string, string][] = [
    ['method', method],
    ['path', path],
    ...Object.entries(headers).map(([name, value]): [string, string] => ['header', `${name}: ${value}`]),
    ...wanted.map((text): [string, string] => ['wanted', text]),
  ];
  if (typeof body === 'string') lines.push(['body', body]);
  else if (body !== undefined) {
    if (body.budget !== undefined) lines.push(['budget', String(Math.max(body.budget, connections))]);
    for (const one of body.queue) lines.push(['queued', one]);
    if (body.next !== undefined) lines.push(['before', body.next.before], ['member', body.next.member]);
  }
  return lines.map(([word, text]) => `${word}\t${text}\n`).join('');
}

function readReport(output: string): LoadResult {
  const lines = output.slice(output.indexOf('report\n')).split('\n');
  const all = (word: string) =>
    lines.filter((line) => line.startsWith(`${word}\t`)).map((line) => line.slice(word.length + 1));
  const requests = Number(all('requests')[0]);
  const faults = all('fault');
  if (!(requests > 0) && faults.length === 0) faults.push(`no response: ${output.slice(0, 500)}`);
  return {
    requests,
    elapsedMs: Number(all('elapsed')[0]),
    latenciesMs: all('latency').map(Number),
    faults: [...new Set(faults)],
  };
}
