// The server as its operator runs it: a process of its own (`node src/start.mjs`), started in an
// empty folder, stopped by signals.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { superuserUrl } from '../../src/database/embedded/roles.ts';
import { until, WAIT_MS } from './patience.ts';
import { freePort } from './server.ts';

export const MAIN = fileURLToPath(new URL('../../src/start.mjs', import.meta.url));
const READY = 'Lanyard is running.';

export interface LanyardProcess {
  readonly pid: number;
  readonly issuer: string;
  /** what people read */
  readonly stderr: string;
  /** the log */
  readonly stdout: string;
  /** the generated secret of the admin client, if it has been shown */
  readonly adminSecret: string | undefined;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /**
   * Resolves when the text has appeared on stderr.
   * @throws Error with all of stderr when the process ends instead
   */
  says(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export interface ProcessOptions {
  /** where it runs and keeps `./data`, see makeHome() */
  readonly home: string;
  readonly port?: number;
  readonly env?: Record<string, string>;
  readonly user?: { uid: number; gid: number };
  /** another copy of src/start.mjs */
  readonly main?: string;
  /** what starts it instead of node; `pid` and `exited` are of this program then */
  readonly command?: readonly [string, ...string[]];
  /** where it writes to; `stdout` and `stderr` of the process stay empty then */
  readonly output?: { readonly stdout?: number | Socket; readonly stderr?: number | Socket };
}

/** Every process that a test has started, so that all of them end with the test. */
const started = new Set<LanyardProcess>();

export async function launch(options: ProcessOptions): Promise<LanyardProcess> {
  const port = options.port ?? (await freePort());
  const [program, ...args] = options.command ?? [process.execPath, options.main ?? MAIN];
  const child = spawn(program, args, {
    cwd: options.home,
    env: { PATH: process.env.PATH, LANYARD_PORT: String(port), LANYARD_HOST: '127.0.0.1', ...options.env },
    stdio: ['ignore', options.output?.stdout ?? 'pipe', options.output?.stderr ?? 'pipe'],
    ...options.user,
  });
  let stderr = '';
  let stdout = '';
  let hasEnded = false;
  child.stderr?.setEncoding('utf8').on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdout?.setEncoding('utf8').on('data', (chunk) => {
    stdout += chunk;
  });
  const exited = once(child, 'close').then(([code, signal]) => {
    hasEnded = true;
    started.delete(lanyard);
    return { code, signal };
  });
  const lanyard: LanyardProcess = {
    pid: child.pid as number,
    issuer: `http://localhost:${port}`,
    get stderr() {
      return stderr;
    },
    get stdout() {
      return stdout;
    },
    get adminSecret() {
      return /client_secret\s+(\S+)/.exec(stderr)?.[1];
    },
    exited,
    async says(text) {
      await until(() => hasEnded || stderr.includes(text)).catch(() => {});
      if (!stderr.includes(text)) throw new Error(`it did not say "${text}":\n${stderr}`);
    },
    kill: (signal) => void child.kill(signal),
  };
  started.add(lanyard);
  return lanyard;
}

/** Launched and listening. */
export async function start(options: ProcessOptions): Promise<LanyardProcess> {
  const lanyard = await launch(options);
  await lanyard.says(READY);
  return lanyard;
}

/** As Ctrl-C does it. @returns the exit code */
export async function stop(lanyard: LanyardProcess, signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
  lanyard.kill(signal);
  return (await lanyard.exited).code;
}

/**
 * For afterEach: ends what a failed test has left running; a process that does not stop by itself
 * is killed.
 */
export async function stopAll(): Promise<void> {
  const all = [...started];
  const timer = setTimeout(() => all.forEach((lanyard) => void lanyard.kill('SIGKILL')), WAIT_MS);
  await Promise.all(all.map((lanyard) => stop(lanyard)));
  clearTimeout(timer);
}

export async function makeHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'lanyard-home-'));
  await chmod(home, 0o700);
  return home;
}

export async function removeHome(home: string): Promise<void> {
  await rm(home, { recursive: true, force: true, maxRetries: 3 });
}

/** The embedded PostgreSQL's own pid file: pid and port, while it runs or after it was killed. */
export async function postmasterOf(home: string): Promise<{ pid: number; port: number } | undefined> {
  const path = join(home, 'data', 'postgres', 'cluster', 'postmaster.pid');
  const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n');
  return lines.length < 4 ? undefined : { pid: Number(lines[0]), port: Number(lines[3]) };
}

export async function isPostgresGone(home: string): Promise<boolean> {
  const postmaster = await postmasterOf(home);
  return postmaster === undefined || !(await isAlive(postmaster.pid));
}

/** Of the embedded database of a running server, as its superuser. */
export async function connectionStringOf(home: string): Promise<string> {
  const port = (await postmasterOf(home))?.port as number;
  return superuserUrl(join(home, 'data', 'postgres'), { port, databaseName: 'lanyard' });
}

/** Connects to the embedded database of a running server, past the server. */
export async function withDatabase<T>(home: string, work: (sql: pg.Client) => Promise<T>): Promise<T> {
  const sql = new pg.Client({ connectionString: await connectionStringOf(home) });
  sql.on('error', () => {});
  await sql.connect();
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

/** The workers of a server with several processes, or the server that npm has started. Linux only. */
export async function serverProcessesBelow(parentPid: number): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent === parentPid && command.includes('start.mjs')) found.push(Number(name));
  }
  return found;
}

/** A process that has ended keeps its number until its parent has asked for its exit code. */
export async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (status !== undefined) return !/\) [ZX] /.test(status);
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
