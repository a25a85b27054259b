// Several processes on one port (LANYARD_WORKERS above 1). The primary does what happens once: migrations, the first admin client,
// one worker that prunes, adding up the metrics. It answers no request itself. A worker that dies is replaced, after a pause that
// grows when it dies again and again; the others go on meanwhile.

import cluster, { type Worker } from 'node:cluster';
import { AggregatorRegistry } from 'prom-client';
import { createDatabase } from '../database/database.ts';
import { createPasswordHasher } from '../password-hash.ts';
import type { Ports, ToPrimary, ToWorker } from './cluster-messages.ts';
import { createBackOff } from './restart-delay.ts';
import { type Instance, type InstanceOptions, listenForMetrics, migrate, prepareAdminClient } from './startup.ts';

/** Workers drain for ten seconds at most (.ts); who has not ended then never will. */
const STOP_MS = 15_000;

/** @throws Error when the first workers cannot start, with the reason of one of them */
export async function startCluster(options: InstanceOptions): Promise<Instance> {
  const { config, log } = options;
  await migrate(options);
  const aggregator = new AggregatorRegistry();
  const readMetrics = async () => ({ contentType: aggregator.contentType, body: await aggregator.clusterMetrics() });
  const backOff = createBackOff();
  let isStopping = false;
  let pruner: Worker | undefined;

  function start(): { worker: Worker; listening: Promise<Ports> } {
    const startedAt = Date.now();
    const worker = cluster.fork();
    const prunes = pruner === undefined;
    if (prunes) pruner = worker;
    const { connectionString, secretKey } = options;
    send(worker, { type: 'start', connectionString, secretKey, prunes });
    const listening = new Promise<Ports>((resolve, reject) => {
      worker.on('message', (message: ToPrimary) => {
        if (message.type === 'listening') resolve(message);
        else if (message.type === 'failed') reject(new Error(message.message));
        else if (message.type === 'metrics?') void answerMetrics(worker, message.requestId);
      });
      worker.once('exit', (code, signal) => {
        reject(new Error(`a worker ended while it started (${signal ?? code})`));
        replace(worker, { code, signal, livedMs: Date.now() - startedAt });
      });
    });
    listening.catch(() => {});
    return { worker, listening };
  }

  let areAllStarted = false;
  function replace(worker: Worker, end: { code: number; signal: string | null; livedMs: number }): void {
    if (isStopping || !areAllStarted) return;
    const delayMs = backOff.next(end.livedMs);
    log.error(
      {
        pid: worker.process.pid,
        exit_code: end.code,
        signal: end.signal,
        lived_ms: end.livedMs,
        restart_in_ms: delayMs,
      },
      'a worker has ended',
    );
    if (pruner === worker) choosePruner();
    setTimeout(() => {
      if (!isStopping) start();
    }, delayMs);
  }

  function choosePruner(): void {
    pruner = workers().find((worker) => worker.isConnected());
    if (pruner !== undefined) send(pruner, { type: 'prune' });
  }

  async function answerMetrics(worker: Worker, requestId: number): Promise<void> {
    const body = await aggregator.clusterMetrics().catch(() => undefined);
    send(worker, { type: 'metrics', requestId, body });
  }

  async function stop(): Promise<void> {
    isStopping = true;
    // First every door, then the guests: who is sent away comes back at once, and must not be let in by a worker that is
    // about to close.
    await Promise.all(workers().map(stopAccepting));
    await Promise.all(workers().map(stopWorker));
  }

  try {
    const started = Array.from({ length: config.workers }, () => start());
    const [ports] = await Promise.all(started.map(({ listening }) => listening));
    areAllStarted = true;
    const metricsListener = await listenForMetrics(config, log, readMetrics);
    const adminClientSecret = await prepareOnce(options);
    return {
      ...(ports as Ports),
      metricsPort: metricsListener?.port,
      adminClientSecret,
      async stop() {
        await stop();
        await metricsListener?.close();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function prepareOnce({ config, connectionString, log }: InstanceOptions): Promise<string | undefined> {
  const { databaseQueueSize: queueSize } = config;
  const database = createDatabase({ connectionString, poolSize: 2, queueSize, log });
  try {
    return await prepareAdminClient(config, { database, passwords: createPasswordHasher() });
  } finally {
    await database.close();
  }
}

function workers(): Worker[] {
  return Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
}

function send(worker: Worker, message: ToWorker): void {
  // One that has just died does not hear it; its `exit` is on the way.
  worker.send(message, undefined, () => {});
}

function stopAccepting(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.isDead()) return resolve();
    worker.once('exit', () => resolve());
    worker.on('message', (message: ToPrimary) => {
      if (message.type === 'stopped accepting') resolve();
    });
    send(worker, { type: 'stop accepting' });
  });
}

function stopWorker(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.isDead()) return resolve();
    const timer = setTimeout(() => worker.process.kill('SIGKILL'), STOP_MS);
    worker.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    send(worker, { type: 'stop' });
  });
}
