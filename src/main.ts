// The server. The map of what happens at start, in this order; at the end it is undone in reverse:
//
//   config        from the environment and ./.env, all faults at once
//   database      DATABASE_URL, or the embedded PostgreSQL in LANYARD_DATA_DIR
//   secret key    LANYARD_SECRET_KEY, or (embedded only) a file beside the database
//   installation  migrations, signing keys, the server, listening, the first admin client; or the same with several
//                 processes (LANYARD_WORKERS): then this file runs in each of them, and the workers wait for the primary
//
// What people read goes to stderr in plain words, the log to stdout in JSON lines.

import cluster from 'node:cluster';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Config, ConfigError, loadConfig } from './config/config.ts';
import { loadSecretKey } from './config/secret-key-file.ts';
import { startEmbeddedPostgres } from './database/embedded/embedded-postgres.ts';
import { loadMigrations } from './database/migrations.ts';
import { createLog, type Log } from './log.ts';
import { runsAtOnce } from './password-hash.ts';
import type { Instance, InstanceOptions } from './process/startup.ts';
import { collectStartupGarbage } from './process/startup-gc.ts';

interface DatabaseServer {
  readonly connectionString: string;
  readonly description: string;
  /** resolves when an embedded database has ended; never for a foreign one */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

/** Its process ends with code 0 when it was asked to stop, and with 1 and a text for the operator when it cannot run. */
export async function main(): Promise<void> {
  try {
    await run();
  } catch (error) {
    const isForOperators = error instanceof ConfigError || process.env.LANYARD_LOG_LEVEL !== 'debug';
    say(isForOperators ? (error as Error).message : String((error as Error).stack));
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
  // What the environment sets already wins.
  if (existsSync('.env')) process.loadEnvFile('.env');
  const config = loadConfig(process.env);
  // libuv reads it when it first needs a thread, which is later. (password-hash.ts says why one more.)
  process.env.UV_THREADPOOL_SIZE ??= String(runsAtOnce(config.workers) + 1);
  const log = createLog(config.logLevel);
  if (cluster.isWorker) {
    const { runWorker } = await import('./process/cluster-worker.ts');
    runWorker(config, log);
    return;
  }
  const stopSignal = nextStopSignal();
  // Loading the server takes as long as starting the database: both at the same time.
  const startServer = loadServer(config);
  const database = await startDatabase(config, log);
  let installation: Instance | undefined;
  let isBroken = false;
  try {
    const secretKey = config.secretKey ?? (await loadSecretKey(config.dataDir));
    const { connectionString } = database;
    installation = await (await startServer)({ config, connectionString, secretKey, log });
    collectStartupGarbage();
    announce(config, database, installation);
    isBroken = await Promise.race([stopSignal.then(() => false), database.exited.then(() => true)]);
    say(isBroken ? '\nThe database has ended; stopping.' : '\nStopping.');
  } finally {
    await installation?.stop();
    await database.stop();
  }
  process.exitCode = isBroken ? 1 : 0;
}

/** In this process, or in several that this one looks after. */
async function loadServer({ workers }: Config): Promise<(options: InstanceOptions) => Promise<Instance>> {
  if (workers === 1) return (await import('./process/single-process.ts')).startSingleProcess;
  return (await import('./process/cluster-primary.ts')).startCluster;
}

async function startDatabase(config: Config, log: Log): Promise<DatabaseServer> {
  if (config.databaseUrl !== undefined) {
    const { host, pathname } = new URL(config.databaseUrl);
    const never = new Promise<never>(() => {});
    return {
      connectionString: config.databaseUrl,
      description: `PostgreSQL at ${host}${pathname}`,
      exited: never,
      stop: async () => {},
    };
  }
  const dataDir = resolve(config.dataDir, 'postgres');
  const postgres = await startEmbeddedPostgres({ dataDir, log: (line) => log.debug({ postgres: line }, 'postgres') });
  return { ...postgres, description: `embedded PostgreSQL in ${dataDir}`, stop: () => postgres.stop() };
}

/** In one piece: whoever has read that it is running has read the secret too. */
function announce(config: Config, database: DatabaseServer, installation: Instance): void {
  const secret = installation.adminClientSecret;
  const firstStart =
    secret === undefined
      ? ''
      : '\n\nThis is the first start. The client for the admin API, shown this once:\n' +
        `  client_id      lanyard-admin\n  client_secret  ${secret}\n`;
  say(`Lanyard is running.\n  issuer    ${config.issuer}\n  database  ${database.description}${firstStart}`);
}

function nextStopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
