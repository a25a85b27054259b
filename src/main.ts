// The server. The map of what happens at start, in this order; at the end it is undone in reverse:
//
//   config      from the environment and ./.env, all faults at once
//   database    DATABASE_URL, or the embedded PostgreSQL in LANYARD_DATA_DIR
//   secret key  LANYARD_SECRET_KEY, or (embedded only) a file beside the database
//   instance    migrations, signing keys, the server, its listeners, the first admin client: process/single-process.ts, or
//               process/cluster-primary.ts with LANYARD_WORKERS; then this file runs in each worker too, which waits for the primary
//   account     started as root, it gives root up when its listeners are open: process/startup.ts
//
// What people read goes to stderr in plain words, the log to stdout in JSON lines.

import cluster from 'node:cluster';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Account, ensureOwnAccount } from './account/account.ts';
import { isRoot } from './account/root.ts';
import { type Config, ConfigError, loadConfig } from './config/config.ts';
import { loadSecretKey } from './config/secret-key-file.ts';
import { describeAddress } from './database/connection.ts';
import { startEmbeddedPostgres } from './database/embedded/embedded-postgres.ts';
import { loadMigrations } from './database/migrations.ts';
import { AppError } from './errors.ts';
import { createLog, type Log } from './log.ts';
import { standardError } from './output/output.ts';
import { runsAtOnce, threadsFor } from './password-hash.ts';
import type { Instance, InstanceOptions } from './process/startup.ts';
import { collectStartupGarbage } from './process/startup-gc.ts';
import { listenForStop } from './process/stop-request.ts';

/** A supervisor kills what has not ended after some time, Kubernetes after 30 seconds. */
const GRACE_MS = 25_000;

interface DatabaseServer {
  readonly connectionString: string;
  readonly description: string;
  /** for a server that was started as root */
  readonly account: Account | undefined;
  /** resolves when an embedded database has exited; never for another one */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

/** Its process exits with code 0 when it was asked to stop, and with 1 and a text for the operator when it cannot run. */
export async function main(): Promise<void> {
  // A warning of Node's own, on a terminal that was closed, must not end the process before it has cleaned up.
  process.stderr.on('error', () => {});
  try {
    await run();
  } catch (error) {
    say(textOf(error));
    process.exitCode = 1;
  }
}

/** Loads what a start loads, and starts nothing. */
export async function load(): Promise<void> {
  await Promise.all([
    import('./process/single-process.ts'),
    import('./process/cluster-primary.ts'),
    import('./process/cluster-worker.ts'),
    loadMigrations(),
  ]);
}

async function run(): Promise<void> {
  if (cluster.isWorker) {
    const { runWorker } = await import('./process/cluster-worker.ts');
    runWorker();
    return;
  }
  // The environment wins over the file.
  if (existsSync('.env')) process.loadEnvFile('.env');
  const config = loadConfig(process.env);
  // libuv reads it when it first needs a thread, which is later. (password-hash.ts says why two more.)
  process.env.UV_THREADPOOL_SIZE ??= String(threadsFor(runsAtOnce(config.workers)));
  const log = createLog(config.logLevel);
  const stopSignal = listenForStop({ endsWithParent: process.env.npm_lifecycle_event === 'start' });
  stopSignal.addEventListener('abort', endInTime);
  const hasFailed = await serve(config, log, stopSignal);
  process.exitCode = hasFailed ? 1 : 0;
}

/** Starts, serves until the stop, and stops. @returns whether it stopped because it could not go on */
async function serve(config: Config, log: Log, stopSignal: AbortSignal): Promise<boolean> {
  await using opened = new AsyncDisposableStack();
  // Loading the server takes as long as starting the database: both at the same time.
  const startServer = loadServer(config);
  const database = opened.adopt(await startDatabase(config, log), ({ stop }) => stop());
  const secretKey = config.secretKey ?? (await loadSecretKey(config.dataDir));
  const { connectionString, account } = database;
  const options = { config, connectionString, secretKey, log, stopSignal, account };
  const instance = await (await startServer)(options).catch((error: unknown) => {
    // A stop fails a start that waits. Ctrl-C also reaches workers that cannot ignore it yet, and their end makes the start fail.
    if (!stopSignal.aborted) throw error;
  });
  if (instance !== undefined) {
    opened.adopt(instance, ({ stop }) => stop());
    collectStartupGarbage();
    announce(config, database, instance);
  }
  const failure = await Promise.race([
    untilAborted(stopSignal),
    database.exited.then(() => 'The database has ended'),
    instance?.failed?.then(({ message }) => message) ?? new Promise<never>(() => {}),
  ]);
  say(failure === undefined ? '\nStopping.' : `\n${failure}; stopping.`);
  if (failure !== undefined) endInTime();
  return failure !== undefined;
}

/** Each part of a stop has a deadline; this is for what none of them foresees, and for a start that hangs. */
function endInTime(): void {
  setTimeout(() => {
    say(`It has not stopped within ${GRACE_MS / 1000} seconds, and exits.`);
    process.exit(1);
  }, GRACE_MS).unref();
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

/** In this process, or in several workers of it. */
async function loadServer({ workers }: Config): Promise<(options: InstanceOptions) => Promise<Instance>> {
  if (workers === 1) return (await import('./process/single-process.ts')).startSingleProcess;
  return (await import('./process/cluster-primary.ts')).startCluster;
}

async function startDatabase(config: Config, log: Log): Promise<DatabaseServer> {
  if (config.databaseUrl !== undefined) {
    const never = new Promise<never>(() => {});
    return {
      connectionString: config.databaseUrl,
      description: `PostgreSQL at ${describeAddress(config.databaseUrl)}`,
      account: isRoot && process.platform === 'linux' ? ensureOwnAccount(process.cwd()) : undefined,
      exited: never,
      stop: async () => {},
    };
  }
  const dataDir = resolve(config.dataDir, 'postgres');
  const postgres = await startEmbeddedPostgres({ dataDir, log: (line) => log.debug({ postgres: line }, 'postgres') });
  return { ...postgres, description: `embedded PostgreSQL in ${dataDir}` };
}

/** In one piece: an operator, or a program, that has read that it is running has read the secret too. */
function announce(config: Config, database: DatabaseServer, { adminClientSecret }: Instance): void {
  const firstStart =
    adminClientSecret === undefined
      ? ''
      : '\n\nThis is the first start. The client for the admin API, shown this once:\n' +
        `  client_id      lanyard-admin\n  client_secret  ${adminClientSecret}\n`;
  say(`Lanyard is running.\n  issuer    ${config.issuer}\n  database  ${database.description}${firstStart}`);
}

/** A clean-up that failed has an error of its own, which comes after the one that was the reason for it. */
function textOf(error: unknown): string {
  if (error instanceof SuppressedError) return `${textOf(error.suppressed)}\n${textOf(error.error)}`;
  const { message, stack, cause } = error as Error;
  if (error instanceof ConfigError) return message;
  if (process.env.LANYARD_LOG_LEVEL === 'debug') return String(stack);
  // That the database does not answer has a reason, which says what to change.
  return error instanceof AppError && cause instanceof Error ? `${message} (${cause.message})` : message;
}

function say(text: string): void {
  standardError.write(`${text}\n`);
}
