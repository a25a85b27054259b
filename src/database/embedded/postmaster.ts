// One running PostgreSQL: started, awaited, stopped. To be called under the lock of the data folder only (embedded-postgres.ts).

import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account } from '../../account/account.ts';
import type { Binaries } from './binaries.ts';
import { ACCESS_RULES_FILE } from './cluster.ts';
import { stopOrphan } from './orphan.ts';
import { type Exit, type PostgresProcess, spawnAs } from './spawn.ts';

export interface Postmaster {
  readonly port: number;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  stop(): Promise<void>;
}

export interface PostmasterOptions {
  readonly clusterDir: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
}

/** A fast shutdown writes one checkpoint; a disk that takes longer for it hangs. */
const STOP_TIMEOUT_MS = 30_000;
const RETRY_INTERVAL_MS = 50;

/**
 * Failures that pass: another process took the port first; processes of a killed postmaster have not noticed its death yet; the
 * orphan of a Lanyard that was killed while starting shows itself only now.
 */
const PASSING_FAILURE =
  /Address already in use|pre-existing shared memory block|lock file "postmaster.pid" already exists/;
const RETRY_FOR_MS = 10_000;

const READY = 'database system is ready to accept connections';
const LAST_LINES = 20;
const STDERR_TIMEOUT_MS = 1_000;

/**
 * Has no time limit: after a crash PostgreSQL replays its log first, and an interrupted replay would only begin again at the next
 * start. PostgreSQL either becomes ready or exits.
 * @throws Error with PostgreSQL's last lines when it exits instead
 */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const retryUntil = Date.now() + RETRY_FOR_MS;
  for (;;) {
    await stopOrphan(options.clusterDir, options.log);
    const port = await findFreePort();
    const { postgres, isReady, lastLines } = await launch(options, port);
    const { child, exited } = postgres;
    if (await Promise.race([isReady, hasFailed(postgres)])) {
      return { port, pid: child.pid as number, exited, stop: () => stop(postgres) };
    }
    const reason = lastLines.join('\n');
    if (!PASSING_FAILURE.test(reason) || Date.now() > retryUntil) {
      const { code, signal } = await exited;
      throw new Error(`the embedded PostgreSQL ended while starting (${signal ?? code}):\n${reason}`);
    }
    await sleep(RETRY_INTERVAL_MS);
  }
}

async function launch({ account, binaries, clusterDir, settings, log }: PostmasterOptions, port: number) {
  const ownSettings = {
    ...settings,
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    logging_collector: 'off',
    log_destination: 'stderr',
    // Readiness is read from the log.
    log_min_messages: 'warning',
  };
  const lastLines: string[] = [];
  const ready = Promise.withResolvers<true>();
  const args = ([dir]: readonly string[]) => [
    ...['-D', dir as string],
    // The configuration in the folder could name another one.
    ...settingArguments({ ...ownSettings, hba_file: join(dir as string, ACCESS_RULES_FILE) }),
  ];
  const postgres = await spawnAs(account, binaries.postgres, [clusterDir], args, (line) => {
    log(line);
    lastLines.push(line);
    if (lastLines.length > LAST_LINES) lastLines.shift();
    if (line.includes(READY)) ready.resolve(true);
  });
  return { postgres, isReady: ready.promise, lastLines };
}

function settingArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Another process may take it before PostgreSQL does; then PostgreSQL fails, and the caller asks for another port. */
async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @returns false after its last line, for which a process that has inherited its stderr must not make us wait */
function hasFailed({ exited, stderrClosed }: PostgresProcess): Promise<false> {
  return Promise.race([
    stderrClosed.then(() => false as const),
    exited.then(() => sleep(STDERR_TIMEOUT_MS, false as const, { ref: false })),
  ]);
}

async function stop({ child, exited }: PostgresProcess): Promise<void> {
  // Fast shutdown: sessions are ended, everything that is committed is written, then it exits.
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
