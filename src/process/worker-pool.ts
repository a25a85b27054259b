// The workers of the primary: starts them, replaces one that has exited, and stops them all. The delay before a replacement grows
// while workers live shortly; the others keep answering. One worker runs the background jobs; when it exits, another one takes over.

import cluster, { type Worker } from 'node:cluster';
import type { Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import type { Ports, ToPrimary, ToWorker } from './cluster-messages.ts';
import { createRestartDelay } from './restart-delay.ts';

export interface WorkerPoolOptions {
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
  readonly addUpMetrics: () => Promise<Exposition>;
}

/** A worker that has not answered by then is blocked. It goes on to the stop like the others. */
const STOP_ACCEPTING_TIMEOUT_MS = 5_000;
/** A worker drains for ten seconds at most (graceful-shutdown.ts); one that has not exited by then hangs, and is killed. */
const STOP_TIMEOUT_MS = 15_000;

interface WorkerEnd {
  readonly exit_code?: number;
  readonly signal?: string | null;
  readonly lived_ms: number;
  /** what the worker said, or why there is none */
  readonly reason?: string | undefined;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #restartDelay = createRestartDelay();
  readonly #pendingRestarts = new Set<NodeJS.Timeout>();
  #backgroundWorker: Worker | undefined;
  #isStartComplete = false;
  #isStopping = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /** Resolves when all of them listen. @throws Error with the reason of the first one that cannot start */
  async start(count: number): Promise<Ports> {
    const [ports] = await Promise.all(Array.from({ length: count }, () => this.#startWorker()));
    return ports as Ports;
  }

  /** The workers call themselves ready from now on, and so do those that replace them. */
  completeStart(): void {
    this.#isStartComplete = true;
    for (const worker of workers()) send(worker, { type: 'complete start' });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#pendingRestarts) clearTimeout(timer);
    // All listeners first: a client whose connection ends connects again, and must not reach a worker that is about to close.
    await Promise.all(workers().map(stopAccepting));
    await Promise.all(workers().map(stopWorker));
  }

  #startWorker(): Promise<Ports> {
    const startedAt = Date.now();
    const worker = cluster.fork();
    this.#backgroundWorker ??= worker;
    const { connectionString, secretKey } = this.#options;
    const runsBackgroundJobs = this.#backgroundWorker === worker;
    send(worker, { type: 'start', connectionString, secretKey, runsBackgroundJobs });
    if (this.#isStartComplete) send(worker, { type: 'complete start' });
    return new Promise((resolve, reject) => {
      let reason: string | undefined;
      worker.on('message', (message: ToPrimary) => {
        if (message.type === 'listening') resolve(message);
        else if (message.type === 'failed') reason = message.message;
        else if (message.type === 'metrics?') void this.#answerMetrics(worker, message.requestId);
      });
      worker.once('exit', (exitCode, signal) => {
        reject(new Error(reason ?? `a worker exited while it started (${signal ?? exitCode})`));
        this.#replace(worker, { exit_code: exitCode, signal, lived_ms: Date.now() - startedAt, reason });
      });
      // The system could not make the process.
      worker.once('error', (error) => {
        reject(error);
        this.#replace(worker, { lived_ms: 0, reason: error.message });
      });
    });
  }

  #replace(worker: Worker, end: WorkerEnd): void {
    if (this.#isStopping) return;
    const restart_in_ms = this.#restartDelay.next(end.lived_ms);
    this.#options.log.error({ pid: worker.process.pid, ...end, restart_in_ms }, 'a worker has exited');
    if (this.#backgroundWorker === worker) this.#chooseBackgroundWorker();
    const timer = setTimeout(() => {
      this.#pendingRestarts.delete(timer);
      // Why it failed is logged when it exits.
      this.#startWorker().catch(() => {});
    }, restart_in_ms);
    this.#pendingRestarts.add(timer);
  }

  #chooseBackgroundWorker(): void {
    this.#backgroundWorker = workers().find((worker) => worker.isConnected());
    if (this.#backgroundWorker !== undefined) send(this.#backgroundWorker, { type: 'run background jobs' });
  }

  async #answerMetrics(worker: Worker, requestId: number): Promise<void> {
    const metrics = await this.#options.addUpMetrics().catch(() => undefined);
    send(worker, { type: 'metrics', requestId, body: metrics?.body });
  }
}

function workers(): Worker[] {
  // Node also lists one whose process the system could not make.
  return Object.values(cluster.workers ?? {}).filter((worker) => worker?.process.pid !== undefined) as Worker[];
}

function send(worker: Worker, message: ToWorker): void {
  // A worker that has just died does not receive it; its `exit` follows. One that the system could not make has no channel.
  if (worker.isConnected()) worker.send(message, undefined, () => {});
}

/** Resolves when the worker refuses connections, has exited, or does not answer in time. */
function stopAccepting(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.isDead()) return resolve();
    const timer = setTimeout(resolve, STOP_ACCEPTING_TIMEOUT_MS);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    worker.once('exit', done);
    worker.on('message', (message: ToPrimary) => {
      if (message.type === 'stopped accepting') done();
    });
    send(worker, { type: 'stop accepting' });
  });
}

/** Resolves when the worker has exited. */
function stopWorker(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.isDead()) return resolve();
    const timer = setTimeout(() => worker.process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    worker.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    send(worker, { type: 'stop' });
  });
}
