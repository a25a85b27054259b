// The workers of the primary: starts them, replaces one that has exited or hangs, and stops them all. The delay before a replacement
// grows while workers live shortly; the others keep answering. One worker that listens runs the background jobs; when it exits, another
// one takes over.

import cluster, { type Worker } from 'node:cluster';
import type { Log } from '../log.ts';
import { createMetricsSum } from '../metrics/metrics-sum.ts';
import { standardError, standardOutput, WORKER_LOG_DESCRIPTOR } from '../output/output.ts';
import type { Ports, ToPrimary, ToWorker, WorkerStart } from './cluster-messages.ts';
import { createRestartDelay } from './restart-delay.ts';
import { createWatchdog } from './watchdog.ts';

export interface WorkerPoolOptions extends Omit<WorkerStart, 'type'> {
  readonly log: Log;
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
  /** Those that have not exited. (The list of `cluster` still has one that has, until its channel is closed.) */
  readonly #alive = new Set<Worker>();
  readonly #listening = new Set<Worker>();
  readonly #metrics = createMetricsSum<Worker>((worker) => send(worker, { type: 'own metrics?' }));
  readonly #watchdog = createWatchdog<Worker>(
    (worker) => send(worker, { type: 'ping' }),
    (worker, unanswered) => this.#killHanging(worker, unanswered),
  );
  readonly #failure = Promise.withResolvers<Error>();
  #backgroundWorker: Worker | undefined;
  #isStartComplete = false;
  #isStopping = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    cluster.setupPrimary({ stdio: workerStdio() });
  }

  /** the sum of all workers */
  readonly readMetrics = this.#metrics.read;

  /** Resolves when no worker can listen any more. */
  readonly failed = this.#failure.promise;

  /** Resolves when all of them listen. @throws Error with the reason of the first one that cannot start */
  async start(count: number): Promise<Ports> {
    const [ports] = await Promise.all(Array.from({ length: count }, () => this.#startWorker()));
    return ports as Ports;
  }

  /** The workers call themselves ready from now on, and so do those that replace them. */
  completeStart(): void {
    this.#isStartComplete = true;
    for (const worker of this.#alive) send(worker, { type: 'complete start' });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#watchdog.stop();
    for (const timer of this.#pendingRestarts) clearTimeout(timer);
    // All listeners first: a client whose connection ends connects again, and must not reach a worker that is about to close.
    await Promise.all(this.#existing().map(stopAccepting));
    await Promise.all(this.#existing().map(stopWorker));
  }

  /** without one that the system could not make, whose `error` is on its way */
  #existing(): Worker[] {
    return [...this.#alive].filter(({ process }) => process.pid !== undefined);
  }

  #startWorker(): Promise<Ports> {
    const startedAt = Date.now();
    const worker = cluster.fork();
    this.#alive.add(worker);
    this.#watchdog.watch(worker);
    passOnOutput(worker);
    const { config, connectionString, secretKey, tlsTexts, account } = this.#options;
    send(worker, { type: 'start', config, connectionString, secretKey, tlsTexts, account });
    if (this.#isStartComplete) send(worker, { type: 'complete start' });
    return new Promise((resolve, reject) => {
      let reason: string | undefined;
      worker.on('message', (message: ToPrimary) => {
        if (message.type === 'failed') {
          reason = message.message;
          // Every worker had exited, so that the listener was closed, and a port below 1024 cannot be opened without root.
          if (this.#isStartComplete && message.code === 'EACCES') this.#failure.resolve(new Error(reason));
        } else if (message.type === 'listening') {
          this.#hasStarted(worker);
          resolve(message);
        } else this.#receive(worker, message);
      });
      worker.once('exit', (exitCode, signal) => {
        reject(new Error(reason ?? `a worker exited while it started (${signal ?? exitCode})`));
        this.#replace(worker, { exit_code: exitCode, signal, lived_ms: Date.now() - startedAt, reason });
      });
      // The system could not make the process, or a message did not reach it.
      worker.once('error', (error) => {
        reject(error);
        worker.process.kill('SIGKILL');
        this.#replace(worker, { lived_ms: Date.now() - startedAt, reason: error.message });
      });
    });
  }

  #hasStarted(worker: Worker): void {
    // A message may be read after the exit of its sender.
    if (!this.#alive.has(worker)) return;
    this.#watchdog.hasStarted(worker);
    this.#metrics.join(worker);
    this.#listening.add(worker);
    this.#keepBackgroundJobs();
  }

  #receive(worker: Worker, message: ToPrimary): void {
    if (message.type === 'pong') this.#watchdog.answered(worker);
    else if (message.type === 'own metrics') this.#metrics.answered(worker, message.metrics);
    else if (message.type === 'metrics?') void this.#answerMetrics(worker, message.requestId);
  }

  #replace(worker: Worker, end: WorkerEnd): void {
    // Both its `error` and its `exit` come here.
    if (!this.#alive.delete(worker)) return;
    this.#listening.delete(worker);
    this.#watchdog.forget(worker);
    this.#metrics.leave(worker);
    if (this.#isStopping) return;
    const restart_in_ms = this.#restartDelay.next(end.lived_ms);
    this.#options.log.error({ pid: worker.process.pid, ...end, restart_in_ms }, 'a worker has exited');
    this.#keepBackgroundJobs();
    const timer = setTimeout(() => {
      this.#pendingRestarts.delete(timer);
      // Why it failed is logged when it exits.
      this.#startWorker().catch(() => {});
    }, restart_in_ms);
    this.#pendingRestarts.add(timer);
  }

  #keepBackgroundJobs(): void {
    if (this.#backgroundWorker !== undefined && this.#listening.has(this.#backgroundWorker)) return;
    [this.#backgroundWorker] = this.#listening;
    if (this.#backgroundWorker === undefined) return;
    send(this.#backgroundWorker, { type: 'run background jobs' });
    this.#options.log.info({ pid: this.#backgroundWorker.process.pid }, 'a worker runs the background jobs');
  }

  #killHanging(worker: Worker, unanswered: number): void {
    this.#options.log.error({ pid: worker.process.pid, unanswered }, 'a worker does not answer, and is killed');
    worker.process.kill('SIGKILL');
  }

  async #answerMetrics(worker: Worker, requestId: number): Promise<void> {
    const sum = await this.#metrics.read().catch(() => undefined);
    send(worker, { type: 'metrics', requestId, sum });
  }
}

/** A child that inherits stdin, stdout or stderr makes them blocking, also for its parent. */
function workerStdio(): (string | number)[] {
  const stdio: (string | number)[] = ['ignore', 'pipe', 'pipe', 'ipc'];
  stdio[WORKER_LOG_DESCRIPTOR] = standardOutput.descriptor;
  return stdio;
}

/** What Node itself has to say, such as the reason of a crash. The log does not come this way. */
function passOnOutput({ process: { stdout, stderr } }: Worker): void {
  for (const stream of [stdout, stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => standardError.write(text));
  }
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
