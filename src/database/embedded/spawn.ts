// How a program of PostgreSQL is started as another account, and how it reaches its files: PostgreSQL refuses to run as root, and its
// account cannot enter a folder below a home directory of mode 700. Therefore we open what it needs and pass it the descriptors: Linux
// follows /proc/self/fd/N straight to the file and does not check the folders above it. The files themselves belong to that account;
// nothing else becomes reachable.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Account } from '../../account/account.ts';

/** After stdin, stdout and stderr. */
const FIRST_PASSED_DESCRIPTOR = 3;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of PostgreSQL. */
export interface PostgresProcess {
  readonly child: ChildProcessByStdio<null, null, Readable>;
  /** A program that fails at once may have exited before a caller can listen to its `exit`. */
  readonly exited: Promise<Exit>;
  /** After its last message. */
  readonly stderrClosed: Promise<void>;
}

/**
 * Starts a program of PostgreSQL as the account, in a process group of its own: Ctrl-C in the terminal reaches us, and the
 * database not before our server has drained.
 * @param files files and folders that belong to the account; `args` receives the paths under which the program finds them
 * @param onLine receives each line of its messages; a listener that is added later misses lines
 */
export async function spawnAs(
  account: Account | undefined,
  program: string,
  files: readonly string[],
  args: (paths: readonly string[]) => string[],
  onLine: (line: string) => void,
): Promise<PostgresProcess> {
  const handles: FileHandle[] = [];
  try {
    let paths = files;
    if (account !== undefined && process.platform === 'linux') {
      for (const file of files) handles.push(await open(file, constants.O_RDONLY | constants.O_NOFOLLOW));
      paths = files.map((_, index) => `/proc/self/fd/${FIRST_PASSED_DESCRIPTOR + index}`);
    }
    const child = spawn(program, args(paths), {
      ...childOptions(account),
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', ...handles.map((handle) => handle.fd)],
    }) as PostgresProcess['child'];
    const lines = createInterface({ input: child.stderr }).on('line', onLine);
    const stderrClosed = new Promise<void>((resolve) => {
      lines.once('close', resolve);
    });
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    await once(child, 'spawn');
    return { child, exited, stderrClosed };
  } finally {
    for (const handle of handles) await handle.close();
  }
}

/** Ours carry secrets: PostgreSQL gets these variables only. */
export function childOptions(account: Account | undefined) {
  const env: NodeJS.ProcessEnv = { LC_ALL: 'C' };
  for (const name of ['PATH', 'TZ', 'LD_LIBRARY_PATH']) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  // The account may not be allowed to enter our working directory.
  return { env, cwd: '/', ...account };
}
