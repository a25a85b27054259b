// CPU and memory of a server's processes, from /proc/<pid>/stat and /proc/<pid>/status. A server is
// the process that the bench started and all its descendants; a PostgreSQL among them counts
// separately. Other systems than Linux do not have these files, and the columns stay empty.

import { readdir, readFile } from 'node:fs/promises';

/** USER_HZ: times are in hundredths of a second, on every architecture of Node. */
const TICK_MS = 10;

export interface CpuTimes {
  readonly nodeMs: number;
  readonly postgresMs: number;
}

export interface Processes {
  /** undefined where /proc does not exist */
  cpu(): Promise<CpuTimes | undefined>;
  /** resident memory of the Node processes; undefined where /proc does not exist */
  residentBytes(): Promise<number | undefined>;
}

interface ProcessStat {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
  readonly ownMs: number;
  /** of children that have ended and were waited for */
  readonly endedChildrenMs: number;
}

/** @param postmasterPid of a PostgreSQL that is not among the server's descendants */
export function watchProcesses(serverPid: number, postmasterPid?: number): Processes {
  async function split() {
    const all = await readAll();
    const own = all.filter(({ pid }) => pid === serverPid);
    const family = [...own, ...descendants(all, serverPid)];
    const postmasters = family.filter((one) => one.name === 'postgres' && !isPostgresChild(all, one));
    const roots = [...postmasters, ...all.filter(({ pid }) => pid === postmasterPid)];
    const postgres = [...roots, ...roots.flatMap(({ pid }) => descendants(all, pid))];
    const isPostgres = new Set(postgres.map(({ pid }) => pid));
    return { node: family.filter(({ pid }) => !isPostgres.has(pid)), postgres, roots };
  }
  return {
    async cpu() {
      if (process.platform !== 'linux') return undefined;
      const { node, postgres, roots } = await split();
      // The time of an ended backend is counted at its postmaster.
      return { nodeMs: sum(node, 'ownMs'), postgresMs: sum(postgres, 'ownMs') + sum(roots, 'endedChildrenMs') };
    },
    async residentBytes() {
      if (process.platform !== 'linux') return undefined;
      const { node } = await split();
      const sizes = await Promise.all(node.map(({ pid }) => readResidentBytes(pid)));
      return sizes.reduce((total, bytes) => total + bytes, 0);
    },
  };
}

/** The parent process; for a backend of PostgreSQL that is the postmaster. */
export async function postmasterOf(backendPid: number): Promise<number | undefined> {
  const backend = await readStat(String(backendPid));
  return backend?.name === 'postgres' ? backend.parentPid : undefined;
}

function isPostgresChild(all: readonly ProcessStat[], one: ProcessStat): boolean {
  return all.some(({ pid, name }) => pid === one.parentPid && name === 'postgres');
}

function descendants(all: readonly ProcessStat[], rootPid: number): ProcessStat[] {
  const children = all.filter(({ parentPid }) => parentPid === rootPid);
  return children.flatMap((child) => [child, ...descendants(all, child.pid)]);
}

async function readAll(): Promise<ProcessStat[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(names.map(readStat));
  return stats.filter((stat) => stat !== undefined);
}

/** proc(5): the name in parentheses may contain parentheses, so fields count from the last one. */
async function readStat(pid: string): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = (first: number) => (Number(fields[first]) + Number(fields[first + 1])) * TICK_MS;
  return {
    pid: Number(pid),
    parentPid: Number(fields[1]),
    name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')),
    ownMs: ticks(11),
    endedChildrenMs: ticks(13),
  };
}

async function readResidentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}

function sum(stats: readonly ProcessStat[], member: 'ownMs' | 'endedChildrenMs'): number {
  return stats.reduce((total, stat) => total + stat[member], 0);
}
