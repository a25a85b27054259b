// The PostgreSQL that a killed Lanyard left behind: found by its pid file, distinguished from a process that has got the same pid
// since, and ended. To be called under the lock of the data folder only (embedded-postgres.ts): no other Lanyard uses it then.

import { execFileSync } from 'node:child_process';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** As long as an ordinary stop may take. */
const STOP_TIMEOUT_MS = 30_000;
/** After SIGQUIT the processes exit without a checkpoint; the next start recovers. */
const QUIT_TIMEOUT_MS = 10_000;
const POLL_INTERVAL_MS = 50;

/** Ends a PostgreSQL that still runs on the folder. */
export async function stopOrphan(clusterDir: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(clusterDir, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  if (!(pid > 1) || !isAlive(pid)) return;
  if (!(await isPostmasterOf(clusterDir, pid))) {
    // The pid belongs to another process now. PostgreSQL might take that for a postmaster, and refuse to start.
    await rm(pidFile);
    return;
  }
  log(`stopping PostgreSQL (pid ${pid}), which a killed Lanyard left behind`);
  if (await endsAfter('SIGINT', STOP_TIMEOUT_MS)) return;
  if (await endsAfter('SIGQUIT', QUIT_TIMEOUT_MS)) return;
  throw new Error(`PostgreSQL (pid ${pid}) still runs on ${clusterDir} and does not stop`);

  async function endsAfter(signal: NodeJS.Signals, timeoutMs: number): Promise<boolean> {
    process.kill(pid, signal);
    for (const until = Date.now() + timeoutMs; Date.now() < until; await sleep(POLL_INTERVAL_MS)) {
      if (!isAlive(pid) || !(await isPostmasterOf(clusterDir, pid))) return true;
    }
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function isPostmasterOf(clusterDir: string, pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    // PostgreSQL works inside its data folder. The command line may say /proc/self/fd/3.
    const [cluster, cwd, name] = await Promise.all([
      stat(clusterDir),
      stat(`/proc/${pid}/cwd`).catch(() => undefined),
      readFile(`/proc/${pid}/comm`, 'utf8').catch(() => ''),
    ]);
    return name.trim() === 'postgres' && cluster.dev === cwd?.dev && cluster.ino === cwd.ino;
  }
  try {
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).includes(clusterDir);
  } catch {
    return false;
  }
}
