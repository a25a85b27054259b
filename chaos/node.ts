// One node: `node src/start.mjs` with its workers, behind a proxy to PostgreSQL, and the signals that
// faults send to its processes.

import { type LanyardProcess, type ProcessOptions, serverProcessesBelow, start } from '../test/support/process.ts';
import type { CuttableProxy } from '../test/support/proxy.ts';
import { createSender, type Sender, type SenderDeps } from './sender.ts';

const MOST_ERRORS = 20;

export interface Node extends Pick<Sender, 'fetch' | 'ask' | 'excuse'> {
  readonly name: string;
  readonly proxy: CuttableProxy;
  /** has a process that runs */
  isUp(): boolean;
  isPaused(): boolean;
  start(): Promise<void>;
  workers(): Promise<number[]>;
  /** SIGSTOP of all its processes, or of these. */
  pause(pids?: readonly number[]): Promise<void>;
  resume(): void;
  /** kill -9 of all its processes, or of the first one, whose end the workers notice. */
  kill(which: 'all' | 'primary'): Promise<void>;
  killWorker(pid: number): void;
  /** The newest lines of the log, of level error. */
  errors(): string[];
  stop(): Promise<void>;
}

export interface NodeDeps extends SenderDeps {
  readonly proxy: CuttableProxy;
  readonly options: ProcessOptions;
}

export function createNode({ proxy, options, ...deps }: NodeDeps): Node {
  const { name, ledger } = deps;
  const sender = createSender(deps);
  const log: LanyardProcess[] = [];
  let running: LanyardProcess | undefined;
  let paused: readonly number[] = [];

  const workers = async () => (running === undefined ? [] : serverProcessesBelow(running.pid));
  const pids = async () => (running === undefined ? [] : [running.pid, ...(await workers())]);

  function resume(): void {
    for (const pid of paused) signal(pid, 'SIGCONT');
    paused = [];
  }

  return {
    ...sender,
    name,
    proxy,
    isUp: () => running !== undefined,
    isPaused: () => paused.length > 0,
    async start() {
      const lanyard = await start(options);
      running = lanyard;
      log.push(lanyard);
      void lanyard.exited.then(({ code, signal: by }) => {
        if (running === lanyard) ledger.violate('failed', `${name} has ended by itself (${by ?? code})`);
      });
    },
    workers,
    async pause(some) {
      paused = some ?? (await pids());
      for (const pid of paused) signal(pid, 'SIGSTOP');
    },
    resume,
    async kill(which) {
      const { pid: primary, exited } = running as LanyardProcess;
      const all = which === 'all' ? await pids() : [primary];
      running = undefined;
      for (const pid of all) signal(pid, 'SIGKILL');
      await exited;
    },
    killWorker: (pid) => signal(pid, 'SIGKILL'),
    errors: () => log.flatMap((run) => run.stdout.trimEnd().split('\n')).slice(-MOST_ERRORS),
    async stop() {
      resume();
      sender.close();
      const lanyard = running;
      running = undefined;
      lanyard?.kill('SIGTERM');
      await lanyard?.exited;
    },
  };
}

/** A process may have ended by itself meanwhile. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
