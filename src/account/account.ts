// The system account that the embedded PostgreSQL runs as, and the server too when it was started as root (root.ts): one of Lanyard's
// own, since any process of an account can reach what another one of it has open. It is named `lanyard`, and made when it is missing.
// Where none can be made (a read-only /etc, no useradd), a uid that nobody has takes its place.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

interface PasswdEntry extends Account {
  readonly name: string;
  readonly shell: string;
}

const NAME = 'lanyard';
/** As root's PATH, whatever the environment says; after a plain `su` it may lack the folder of useradd. */
const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
/** Of system accounts (login.defs); people have higher ones. */
const LAST_SYSTEM_UID = 999;
/** No distribution or container runtime assigns these (https://systemd.io/UIDS-GIDS/), and every user namespace of 65,536 ids has them. */
const FIRST_SPARE_UID = 60_706;
const SPARE_UIDS = 478;

/**
 * To be called as root, on Linux.
 * @param folder in which the account will keep files: the same folder gives the same account
 * @throws Error when all uids that come into question are taken
 */
export function ensureOwnAccount(folder: string): Account {
  return findOwnAccount() ?? makeOwnAccount() ?? findSpareUid(folder);
}

/** An account of that name which may be a person's, or shares its uid, is not taken. */
function findOwnAccount(): Account | undefined {
  const entries = readPasswd();
  const own = entries.find(({ name }) => name === NAME);
  if (own === undefined || own.uid === 0) return undefined;
  const isShared = entries.some(({ name, uid }) => name !== NAME && uid === own.uid);
  const isForPeople = own.uid > LAST_SYSTEM_UID && !/\/(nologin|false)$/.test(own.shell);
  return isShared || isForPeople ? undefined : outsideRootsGroup(own);
}

/** Root's group may read and write what others may not. Some images have it as the group of their ordinary users. */
export function outsideRootsGroup({ uid, gid }: Account): Account {
  return { uid, gid: gid === 0 ? uid : gid };
}

function makeOwnAccount(): Account | undefined {
  try {
    // On a read-only file system useradd would wait for its lock for a quarter of a minute.
    for (const path of ['/etc', '/etc/passwd']) accessSync(path, constants.W_OK);
  } catch {
    return undefined;
  }
  const common = { env: ENV, stdio: 'ignore' } as const;
  const flags = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'];
  const { error } = spawnSync('useradd', [...flags, '--shell', '/usr/sbin/nologin', NAME], common);
  // The one of BusyBox.
  if (error !== undefined) spawnSync('adduser', ['-S', '-D', '-H', '-s', '/sbin/nologin', NAME], common);
  return findOwnAccount();
}

function findSpareUid(folder: string): Account {
  const taken = new Set(readPasswd().map(({ uid }) => uid));
  const busy = uidsOfProcesses();
  // Its own PostgreSQL may still run.
  const ownerUid = statSync(folder, { throwIfNoEntry: false })?.uid;
  const start = createHash('sha256').update(folder).digest().readUInt32BE() % SPARE_UIDS;
  for (let step = 0; step < SPARE_UIDS; step++) {
    const uid = FIRST_SPARE_UID + ((start + step) % SPARE_UIDS);
    if (!taken.has(uid) && (uid === ownerUid || !busy.has(uid))) return { uid, gid: uid };
  }
  throw new Error(`there is no account "${NAME}", none could be made, and no uid from ${FIRST_SPARE_UID} on is unused`);
}

/**
 * initdb does not run without a name in passwd.
 * @returns the account itself when it has a name, else one of the system that has no process, which therefore nobody uses
 */
export function withName(account: Account): Account {
  const entries = readPasswd();
  if (entries.some(({ uid }) => uid === account.uid)) return account;
  const busy = uidsOfProcesses();
  const idle = entries.find(({ uid, shell }) => uid !== 0 && /\/(nologin|false)$/.test(shell) && !busy.has(uid));
  if (idle === undefined) throw new Error(`there is no account without a process for initdb: make one named "${NAME}"`);
  return { uid: idle.uid, gid: account.gid };
}

function readPasswd(): PasswdEntry[] {
  return readText('/etc/passwd')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 7)
    .map(([name = '', , uid, gid, , , shell = '']) => ({ name, uid: Number(uid), gid: Number(gid), shell }));
}

function uidsOfProcesses(): Set<number> {
  const uids = new Set<number>();
  for (const pid of readdirSync('/proc')) {
    // Real, effective, saved, and that for files.
    const line = /^Uid:(.*)$/m.exec(/^\d+$/.test(pid) ? readText(`/proc/${pid}/status`) : '')?.[1] ?? '';
    for (const uid of line.trim().split(/\s+/)) uids.add(Number(uid));
  }
  return uids;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
