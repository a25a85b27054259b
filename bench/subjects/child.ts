// A server as a child process: started, awaited until it is ready, and always stopped by a signal.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

export interface Child {
  readonly pid: number;
  /** its output on stderr */
  readonly said: string;
  stop(): Promise<void>;
}

export interface ChildOptions {
  readonly nodeOptions?: readonly string[];
  readonly script: string;
  readonly args?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** appears on stderr when the server listens */
  readonly ready: string;
}

const READY_WITHIN_MS = 60_000;
/** Longer than the drain timeout of the server. */
const KILL_AFTER_MS = 20_000;

/** Running and starting ones, so that an aborted bench stops all of them. */
const running = new Set<() => Promise<void>>();
let isStopping = false;

export async function stopAllChildren(): Promise<void> {
  isStopping = true;
  await Promise.all([...running].map((stop) => stop()));
}

export async function startChild(options: ChildOptions): Promise<Child> {
  if (isStopping) throw new Error('the bench is being stopped');
  const child = spawn(process.execPath, [...(options.nodeOptions ?? []), options.script, ...(options.args ?? [])], {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...options.env },
    // Writing the log is a part of the measured work, reading it is not.
    stdio: ['ignore', 'ignore', 'pipe'],
    // Its own process group: Ctrl-C in the terminal reaches the bench only, which stops it in
    // order.
    detached: true,
  });
  let said = '';
  const exited = once(child, 'exit').then(() => {
    // An open pipe must not keep the bench running.
    child.stderr.destroy();
    running.delete(stop);
  });
  async function stop(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    await exited;
    clearTimeout(timer);
  }
  running.add(stop);
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error(`${options.script} did not get ready:\n${said}`));
      const timer = setTimeout(fail, READY_WITHIN_MS);
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk;
        if (!said.includes(options.ready)) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('error', reject);
      child.once('exit', () => {
        clearTimeout(timer);
        fail();
      });
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pid: child.pid as number,
    get said() {
      return said;
    },
    stop,
  };
}

/** The issuer contains the port, so that it must be known before the server listens. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
