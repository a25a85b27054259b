// `npm run chaos`: real nodes on a real PostgreSQL under load, while processes are killed and stopped,
// connections cut and tables locked. A ledger keeps what was acknowledged; docs/reliability.md says what
// must hold. The report goes to stdout, progress to stderr. The exit code is 1 after a violation. Needs
// Linux (/proc, SIGSTOP), and nothing else beside Node.js.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCleanups, runProgram, say } from '../bench/cleanups.ts';
import { startInstallation } from './installation.ts';
import { createLedger } from './ledger.ts';
import { parseOptions } from './options.ts';
import { startPostgres } from './postgres.ts';
import { report, table } from './report.ts';
import { runFaults, runManyChanges } from './run.ts';

const cleanups = createCleanups();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (process.platform !== 'linux') throw new Error('chaos needs Linux: it finds processes in /proc');
  say(`seed ${options.seed}; again with: npm run chaos -- --seed ${options.seed}`);
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-chaos-'));
  cleanups.add(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const postgres = await startPostgres(join(folder, 'postgres'));
  cleanups.add(() => postgres.stop());
  const ledger = createLedger(say);
  const installation = await startInstallation({ connectionString: postgres.connectionString(), folder, ledger });
  cleanups.add(() => installation.stop());
  const deps = { installation, postgres, ledger, options, say };
  if (options.changes === undefined) {
    await runFaults(deps);
  } else {
    const { byName, ...counts } = await runManyChanges(deps);
    process.stdout.write(
      `${table([['change', 'times'], ...byName])}\n${table([['', ''], ...Object.entries(counts)])}\n`,
    );
  }
  process.stdout.write(report(ledger));
  process.stdout.write(`seed ${options.seed}: ${ledger.violations.length} violations\n`);
  if (ledger.violations.length === 0) return;
  process.exitCode = 1;
  for (const node of installation.nodes) say([`the log of ${node.name}:`, ...node.errors()].join('\n'));
}

runProgram(main, cleanups);
