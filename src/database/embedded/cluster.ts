// The files of the cluster: created once by initdb, complete or not at all. initdb fills `cluster.new-…`, which is renamed when it is
// complete; the next start removes what a crash leaves in between. The name differs each time, because an initdb whose Lanyard was
// killed may still be writing. The password exists before the cluster and is kept, so that the two always belong together. Who may
// connect is written at each start.

import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, chown, lchown, lstat, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Account, withName } from '../../account/account.ts';
import type { Binaries } from './binaries.ts';
import { stopOrphan } from './orphan.ts';
import { PASSWORD_FILE } from './roles.ts';
import { spawnAs } from './spawn.ts';

const PASSWORD_BYTES = 32;

export const ACCESS_RULES_FILE = 'pg_hba.conf';
/** Nobody without a password; the passwords are known to the server, and to who may read the file. */
const ACCESS_RULES = '# Written by Lanyard at each start.\nhost all all 127.0.0.1/32 scram-sha-256\n';

export interface ClusterOptions {
  readonly dataDir: string;
  readonly clusterDir: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  /** For temporary clusters only: faster, lost at a power cut. */
  readonly noSync: boolean;
  readonly log: (line: string) => void;
}

export interface Cluster {
  /** the superuser's */
  readonly password: string;
  /** created just now, and empty */
  readonly isNew: boolean;
}

export async function ensureCluster(options: ClusterOptions): Promise<Cluster> {
  const { dataDir, clusterDir, account, log } = options;
  const existing = await findCluster(clusterDir, account);
  if (existing === undefined) await removeLeftovers(dataDir);
  const password = await readOrCreatePassword(dataDir, existing !== undefined);
  if (existing === undefined) {
    const newDir = await mkdtemp(`${clusterDir}.new-`);
    await initialize(newDir, password, options);
    await rename(newDir, clusterDir);
    await syncDir(dataDir);
  } else if (account !== undefined && existing.uid !== account.uid) {
    // Of an earlier version, or from a machine on which the account has another number.
    if ((await stat(dataDir)).uid !== 0)
      throw new Error(`${dataDir} does not belong to root: ${clusterDir} cannot be taken over`);
    await stopOrphan(clusterDir, log);
    await giveTo(account, clusterDir);
    log(`the files of the database belong to the uid ${account.uid} now, and to ${existing.uid} no more`);
  }
  await writeAccessRules(clusterDir, account);
  return { password, isNew: existing === undefined };
}

/** For another account no link: who could make one here would choose which files root gives to that account. */
async function findCluster(clusterDir: string, account: Account | undefined): Promise<Stats | undefined> {
  const found = await (account === undefined ? stat : lstat)(clusterDir).catch(() => undefined);
  if (found?.isDirectory() === false) throw new Error(`${clusterDir} is no folder`);
  return found;
}

/**
 * The folder comes first, and belongs to root until all of it is done: its owner until now can change nothing in it meanwhile, and a
 * crash shows.
 */
async function giveTo(account: Account, dir: string): Promise<void> {
  await lchown(dir, 0, 0);
  await chmod(dir, 0o700);
  for (const name of await readdir(dir)) {
    const path = join(dir, name);
    const stats = await lstat(path);
    if (stats.isDirectory()) await giveTo(account, path);
    // A second name of a file elsewhere, which its owner could have put here.
    else if (stats.nlink > 1) throw new Error(`${path} has another name, and cannot be taken over`);
    else await lchown(path, account.uid, account.gid);
  }
  await lchown(dir, account.uid, account.gid);
}

async function writeAccessRules(clusterDir: string, account: Account | undefined): Promise<void> {
  const path = join(clusterDir, ACCESS_RULES_FILE);
  // The account may write in this folder: a new name, which it cannot have prepared.
  const newPath = `${path}.${randomBytes(8).toString('hex')}`;
  const file = await open(newPath, 'wx', 0o600);
  try {
    await file.writeFile(ACCESS_RULES);
    if (account !== undefined) await file.chown(account.uid, account.gid);
  } finally {
    await file.close();
  }
  await rename(newPath, path);
}

async function removeLeftovers(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!/^(cluster|postgres-password)\.new/.test(name)) continue;
    // A folder that another process still writes to cannot be removed now, and does no harm.
    await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {});
  }
}

async function readOrCreatePassword(dataDir: string, mustExist: boolean): Promise<string> {
  const path = join(dataDir, PASSWORD_FILE);
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    if (mustExist) throw new Error(`${path} is missing, the password of the database beside it`, { cause });
  }
  const password = randomBytes(PASSWORD_BYTES).toString('base64url');
  await writeDurably(`${path}.new`, password);
  await rename(`${path}.new`, path);
  await syncDir(dataDir);
  return password;
}

async function initialize(newDir: string, password: string, options: ClusterOptions): Promise<void> {
  const account = options.account && withName(options.account);
  const passwordFile = `${newDir}.password`;
  try {
    await writeDurably(passwordFile, password);
    if (account !== undefined) {
      for (const path of [newDir, passwordFile]) await chown(path, account.uid, account.gid);
    }
    await runInitdb(newDir, passwordFile, { ...options, account });
    if (options.account !== undefined && options.account !== account) await giveTo(options.account, newDir);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function runInitdb(newDir: string, passwordFile: string, options: ClusterOptions): Promise<void> {
  const messages: string[] = [];
  const args = ([dir, pwfile]: readonly string[]) => [
    `--pgdata=${dir}`,
    `--pwfile=${pwfile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Comparison by code point, built into PostgreSQL: an update of the C library cannot change the order in an index.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
    ...(options.noSync ? ['--no-sync'] : []),
  ];
  const { account, binaries } = options;
  const initdb = await spawnAs(account, binaries.initdb, [newDir, passwordFile], args, (line) => messages.push(line));
  const [{ code, signal }] = await Promise.all([initdb.exited, initdb.stderrClosed]);
  if (code !== 0) throw new Error(`initdb failed (${signal ?? code}):\n${messages.join('\n').trim()}`);
}

async function writeDurably(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}
