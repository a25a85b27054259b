// The files of the cluster: created once by initdb, complete or not at all. initdb fills `cluster.new-…`, which is renamed when it is
// complete; the next start removes what a crash leaves in between. The name differs each time, because an initdb whose Lanyard was
// killed may still be writing. The password exists before the cluster and is kept, so that the two always belong together.

import { randomBytes } from 'node:crypto';
import { chown, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Account, spawnAs } from './account.ts';
import type { Binaries } from './binaries.ts';

const PASSWORD_BYTES = 32;

export interface ClusterOptions {
  readonly dataDir: string;
  readonly clusterDir: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  /** For temporary clusters only: faster, lost at a power cut. */
  readonly noSync: boolean;
}

export interface Cluster {
  /** the superuser's */
  readonly password: string;
  /** created just now, and empty */
  readonly isNew: boolean;
}

export async function ensureCluster(options: ClusterOptions): Promise<Cluster> {
  const { dataDir, clusterDir } = options;
  const exists = (await stat(clusterDir).catch(() => undefined)) !== undefined;
  if (!exists) await removeLeftovers(dataDir);
  const password = await readOrCreatePassword(dataDir, exists);
  if (!exists) {
    const newDir = await mkdtemp(`${clusterDir}.new-`);
    await initialize(newDir, password, options);
    await rename(newDir, clusterDir);
    await syncDir(dataDir);
  }
  return { password, isNew: !exists };
}

async function removeLeftovers(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!/^(cluster|postgres-password)\.new/.test(name)) continue;
    // A folder that another process still writes to cannot be removed now, and does no harm.
    await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {});
  }
}

async function readOrCreatePassword(dataDir: string, mustExist: boolean): Promise<string> {
  const path = join(dataDir, 'postgres-password');
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
  const { account } = options;
  const passwordFile = `${newDir}.password`;
  try {
    await writeDurably(passwordFile, password);
    if (account !== undefined) {
      for (const path of [newDir, passwordFile]) await chown(path, account.uid, account.gid);
    }
    await runInitdb(newDir, passwordFile, options);
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
