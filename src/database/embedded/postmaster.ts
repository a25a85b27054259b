// One running PostgreSQL: started, awaited, stopped. Only the holder of the folder's lock (embedded.ts) calls this.

import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, type Exit, type PostgresProcess, spawnAs } from './account.ts';
import type { Binaries } from './binaries.ts';
import { stopOrphan } from './orphan.ts';

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

/** A fast shutdown writes one checkpoint; a disk that needs longer for it is stuck. */
const STOP_TIMEOUT_MS = 30_000;
const RETRY_INTERVAL_MS = 50;

/**
 * Failures that pass: somebody took the port first; processes of a killed postmaster have not noticed its death yet; the
 * orphan of a Lanyard that was killed while starting shows itself only now.
 */
const PASSING_FAILURE =
  /Address already in use|pre-existing shared memory block|lock file "postmaster.pid" already exists/;
const RETRY_FOR_MS = 10_000;

const READY = 'database system is ready to accept connections';
const LAST_LINES = 20;
const SILENCE_TIMEOUT_MS = 1_000;

/**
 * There is no limit to how long it takes: after a crash PostgreSQL replays its log first, and to break that off would only
 * make the next start begin again. It either gets ready or ends.
 * @throws Error with PostgreSQL's last lines when it ends instead
 */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const retryUntil = Date.now() + RETRY_FOR_MS;
  for (;;) {
    await stopOrphan(options.clusterDir, options.log);
    const port = await findFreePort();
    const settings = {
      ...options.settings,
      listen_addresses: '127.0.0.1',
      port: String(port),
      unix_socket_directories: '',
      logging_collector: 'off',
      log_destination: 'stderr',
      // Readiness is read from the log.
      log_min_messages: 'warning',
    };
    const lastLines: string[] = [];
    let becomeReady: (isReady: true) => void;
    const ready = new Promise<true>((resolve) => {
      becomeReady = resolve;
    });
    const postgres = await spawnAs(
      options.account,
      options.binaries.postgres,
      [options.clusterDir],
      ([dir]) => ['-D', dir as string, ...settingArguments(settings)],
      (line) => {
        options.log(line);
        lastLines.push(line);
        if (lastLines.length > LAST_LINES) lastLines.shift();
        if (line.includes(READY)) becomeReady(true);
      },
    );
    const { child, exited } = postgres;
    if (await Promise.race([ready, hasEnded(postgres)])) {
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

function settingArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Somebody may take it before PostgreSQL does; then PostgreSQL fails and the caller asks for another. */
async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @returns false, after its last line; but a process that inherited its messages must not keep us waiting for that */
function hasEnded({ exited, silent }: PostgresProcess): Promise<false> {
  return Promise.race([
    silent.then(() => false as const),
    exited.then(() => sleep(SILENCE_TIMEOUT_MS, false as const, { ref: false })),
  ]);
}

async function stop({ child, exited }: PostgresProcess): Promise<void> {
  // Fast shutdown: sessions are ended, everything committed is written, then it leaves.
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
