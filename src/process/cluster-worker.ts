// One of several processes that answer requests (LANYARD_WORKERS). It starts, drains and exits when the primary says so, and ignores
// signals: Ctrl-C reaches every process of a terminal, and must not end a request halfway. Without a primary it exits too.

import { becomeForGood, isRoot } from '../account/root.ts';
import { createLog, type Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import { EXIT_CODE_OF_FAILED_START, type ToPrimary, type ToWorker, type WorkerStart } from './cluster-messages.ts';
import { type ServerProcess, startServerProcess } from './server-process.ts';
import { collectStartupGarbage } from './startup-gc.ts';

type Message<Type extends ToWorker['type']> = Extract<ToWorker, { type: Type }>;

/** It is told its configuration. */
export function runWorker(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const clusterMetrics = createMetricsReader();
  /** undefined when there is none, since its start failed or has not been asked for */
  let serverProcess: Promise<ServerProcess | undefined> = Promise.resolve(undefined);
  let log: Log | undefined;

  /** Asked for by the primary, or by its end; both wait for the one stop. */
  async function stop(): Promise<never> {
    const stopping = serverProcess.then((started) => started?.stop());
    await stopping.catch((error: unknown) => log?.error({ error }, 'a part of this worker could not be stopped'));
    process.exit(0);
  }

  process.on('message', (message: ToWorker) => {
    if (message.type === 'start') {
      // The code has been loaded by now, from the cache of compiled modules, which is root's.
      if (isRoot && message.account !== undefined) becomeForGood(message.account);
      log = createLog(message.config.logLevel);
      serverProcess = start(message, { log, readMetrics: clusterMetrics.read });
    } else if (message.type === 'ping') {
      tell({ type: 'pong' });
    } else if (message.type === 'run background jobs') {
      void serverProcess.then((started) => started?.startBackgroundJobs());
    } else if (message.type === 'complete start') {
      void serverProcess.then((started) => started?.completeStart());
    } else if (message.type === 'stop accepting') {
      void serverProcess.then((started) => {
        started?.stopAccepting();
        tell({ type: 'stopped accepting' });
      });
    } else if (message.type === 'stop') {
      void stop();
    } else if (message.type === 'own metrics?') {
      void tellOwnMetrics(serverProcess).catch((error: unknown) =>
        log?.error({ error }, 'the metrics could not be read'),
      );
    } else if (message.type === 'metrics') {
      clusterMetrics.answered(message);
    }
  });
  process.on('disconnect', () => {
    log?.error('the primary process has exited; so does this worker');
    void stop();
  });
}

interface StartOptions {
  readonly log: Log;
  readonly readMetrics: () => Promise<Exposition>;
}

/** When it cannot start, the primary is told why, and the worker exits. */
async function start(message: WorkerStart, options: StartOptions): Promise<ServerProcess | undefined> {
  try {
    const started = await startServerProcess({ ...message, ...options });
    collectStartupGarbage();
    tell({ type: 'listening', port: started.port, tlsPort: started.tlsPort });
    return started;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    tell({ type: 'failed', message, code }, () => process.exit(EXIT_CODE_OF_FAILED_START));
    return undefined;
  }
}

async function tellOwnMetrics(serverProcess: Promise<ServerProcess | undefined>): Promise<void> {
  const started = await serverProcess;
  if (started !== undefined) tell({ type: 'own metrics', metrics: await started.metrics.readAsJson() });
}

function tell(message: ToPrimary, afterwards: () => void = () => {}): void {
  process.send?.(message, undefined, undefined, afterwards);
}

/** The metrics of all workers: the primary adds them up. */
function createMetricsReader() {
  const waiting = new Map<number, PromiseWithResolvers<Exposition>>();
  let lastId = 0;
  return {
    read(): Promise<Exposition> {
      const requestId = ++lastId;
      const answer = Promise.withResolvers<Exposition>();
      waiting.set(requestId, answer);
      tell({ type: 'metrics?', requestId });
      return answer.promise;
    },
    answered({ requestId, sum }: Message<'metrics'>): void {
      const answer = waiting.get(requestId);
      waiting.delete(requestId);
      if (sum === undefined) answer?.reject(new Error('the primary could not add up the metrics'));
      else answer?.resolve(sum);
    },
  };
}
