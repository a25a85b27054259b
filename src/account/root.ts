// A server that was started as root gives root up for good when it has opened what only root may open: listeners below port 1024, the
// files of the TLS listener, the data folder.

import { closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import type { Account } from './account.ts';

export const isRoot = process.getuid?.() === 0;

/**
 * Tries it out, and takes it back: nothing else of this process may be opening files meanwhile.
 * @param paths of files that must be readable, and of sockets that must take connections
 * @returns why it would not work, for the operator; undefined: it works
 */
export function whyCannotBecome({ uid, gid }: Account, paths: readonly string[]): string | undefined {
  const { setgroups, getgroups, setegid, seteuid } = identityCalls();
  const groups = getgroups();
  try {
    setgroups([]);
    setegid(gid);
    seteuid(uid);
    return paths.map(whyUnreachable).find((reason) => reason !== undefined);
  } catch (error) {
    // Root without the capability, or of a user namespace that does not have the uid.
    return `this process may not change its user (${(error as NodeJS.ErrnoException).code})`;
  } finally {
    seteuid(0);
    setegid(0);
    if (getgroups().join() !== groups.join()) setgroups(groups);
  }
}

function whyUnreachable(path: string): string | undefined {
  try {
    // To connect to a socket takes the right to write (unix(7)).
    const mode = statSync(path).isSocket() ? constants.O_WRONLY : constants.O_RDONLY;
    closeSync(openSync(path, mode));
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Nobody can open a socket: the kernel says so after it has found the rights.
    return code === 'ENXIO' ? undefined : `${path} cannot be reached (${code})`;
  }
}

/**
 * Groups first, then the user: without root nothing of it is possible any more. Linux makes the memory of the process inaccessible to
 * others of the account then, and its core is not dumped.
 * @throws Error when it did not take, or root could be taken back: such a process must not go on
 */
export function becomeForGood({ uid, gid }: Account): void {
  const { setgroups, setgid, setuid, seteuid, setegid } = identityCalls();
  setgroups([]);
  setgid(gid);
  setuid(uid);
  const ids = [process.getuid?.(), process.geteuid?.(), process.getgid?.(), process.getegid?.()];
  const groups = process.getgroups?.() ?? [];
  const hasTaken = ids.join() === [uid, uid, gid, gid].join() && groups.every((group) => group === gid);
  const comesBack = [setuid, seteuid, setgid, setegid].some((become) => isPossible(() => become(0)));
  if (!hasTaken || comesBack || hasCapabilities()) throw new Error('root could not be given up');
}

function isPossible(call: () => void): boolean {
  try {
    call();
    return true;
  } catch {
    return false;
  }
}

/** They survive a change of the user under some security modes (capabilities(7), "securebits"). */
function hasCapabilities(): boolean {
  if (process.platform !== 'linux') return false;
  return /^Cap(Prm|Eff|Amb):\s*0*[1-9a-f]/m.test(readFileSync('/proc/self/status', 'utf8'));
}

function identityCalls() {
  return {
    setgroups: present(process.setgroups),
    getgroups: present(process.getgroups),
    setgid: present(process.setgid),
    setuid: present(process.setuid),
    setegid: present(process.setegid),
    seteuid: present(process.seteuid),
  };
}

/** They are absent on Windows, where nobody is root. */
function present<T>(call: T | undefined): T {
  if (call === undefined) throw new Error('this system has no users');
  return call;
}
