// Programs of recipes: their variables, and their end.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import type { Command } from './recipe.ts';

export type Variables = Readonly<Record<string, string>>;

const LAST_CHARACTERS = 20_000;

export interface Running {
  readonly output: string;
  /** undefined while it runs */
  readonly exitCode: number | undefined;
  readonly exited: Promise<number>;
  /** Ends it and what it has started. */
  stop(): Promise<void>;
}

const running = new Set<Running>();
let isOver = false;

/** @throws Error after endPrograms() */
export function run(command: Command, folder: string, variables: Variables): Running {
  if (isOver) throw new Error('stopped');
  const env = { ...ownVariables(), ...variables };
  const [program, ...args] = command.map((part) => part.replace(/\$(\w+)/g, (_, name: string) => env[name] ?? '')) as [
    string,
    ...string[],
  ];
  // A group of its own, so that what it starts ends with it.
  const child = spawn(program, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  let exitCode: number | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-LAST_CHARACTERS);
    });
  }
  const exited = ended(child).catch((error: Error) => {
    output += `${error.message}\n`;
    return 127;
  });
  const program_: Running = {
    get output() {
      return output;
    },
    get exitCode() {
      return exitCode;
    },
    exited: exited.then((code) => {
      exitCode = code;
      running.delete(program_);
      return code;
    }),
    async stop() {
      if (exitCode === undefined) killGroup(child, 'SIGTERM');
      const timer = setTimeout(() => killGroup(child, 'SIGKILL'), 5_000);
      await this.exited;
      clearTimeout(timer);
      killGroup(child, 'SIGKILL');
    },
  };
  running.add(program_);
  return program_;
}

/** No other program is started after that. */
export function endPrograms(): Promise<void> {
  isOver = true;
  return stopPrograms();
}

export async function stopPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program.stop()));
}

async function ended(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? 1;
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** What npm tells its scripts about this project; another npm would work in our folder. */
const OF_THIS_PROJECT = /^npm_(package_|lifecycle_|config_globalconfig|config_(local_|global_)?prefix)/;

/** `node` is the one that runs this. */
function ownVariables(): Record<string, string | undefined> {
  const own = Object.entries(process.env).filter(([name]) => !OF_THIS_PROJECT.test(name));
  return { ...Object.fromEntries(own), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
}
