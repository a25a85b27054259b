// One of several processes that answer (LANYARD_WORKERS). It does what the primary says: it starts, drains and ends at its word,
// so that a Ctrl-C, which reaches every process of a terminal, does not end it in the middle of a request. Without a primary it
// ends too.

import { AggregatorRegistry } from 'prom-client';
import type { Config } from '../config/config.ts';
import type { Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import { FAILED, type ToPrimary, type ToWorker } from './cluster-messages.ts';
import { type ServerProcess, startServerProcess } from './server-process.ts';
import { collectStartupGarbage } from './startup-gc.ts';

export function runWorker(config: Config, log: Log): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const clusterMetrics = createMetricsReader();
  let serverProcess: Promise<ServerProcess> | undefined;

  async function start(message: Extract<ToWorker, { type: 'start' }>): Promise<ServerProcess> {
    const started = await startServerProcess({ ...message, config, log, readMetrics: clusterMetrics.read });
    AggregatorRegistry.setRegistries(started.metrics.registry);
    // From here on it answers the primary's question for its numbers.
    new AggregatorRegistry();
    if (message.prunes) started.prune();
    collectStartupGarbage();
    tell({ type: 'listening', port: started.port, tlsPort: started.tlsPort });
    return started;
  }

  async function stop(): Promise<never> {
    const started = await serverProcess?.catch(() => undefined);
    await started?.stop();
    process.exit(0);
  }

  process.on('message', (message: ToWorker) => {
    if (message.type === 'start') {
      serverProcess = start(message);
      serverProcess.catch((error: Error) => {
        tell({ type: 'failed', message: error.message }, () => process.exit(FAILED));
      });
    } else if (message.type === 'prune') {
      void serverProcess?.then((started) => started.prune());
    } else if (message.type === 'stop accepting') {
      // Also from one that has not opened it yet, or never will.
      void Promise.resolve(serverProcess)
        .then((started) => started?.stopAccepting())
        .catch(() => {})
        .finally(() => tell({ type: 'stopped accepting' }));
    } else if (message.type === 'stop') {
      void stop();
    } else if (message.type === 'metrics') {
      clusterMetrics.answered(message);
    }
  });
  process.on('disconnect', () => {
    log.error('the primary process has ended; so does this worker');
    void stop();
  });
}

function tell(message: ToPrimary, afterwards: () => void = () => {}): void {
  process.send?.(message, undefined, undefined, afterwards);
}

/** The numbers of all workers: the primary adds them up. */
function createMetricsReader() {
  const waiting = new Map<number, (exposition: Exposition) => void>();
  const failing = new Map<number, (error: Error) => void>();
  let lastId = 0;
  return {
    read(): Promise<Exposition> {
      const requestId = ++lastId;
      tell({ type: 'metrics?', requestId });
      return new Promise((resolve, reject) => {
        waiting.set(requestId, resolve);
        failing.set(requestId, reject);
      });
    },
    answered({ requestId, body }: Extract<ToWorker, { type: 'metrics' }>): void {
      const contentType = new AggregatorRegistry().contentType;
      if (body === undefined) failing.get(requestId)?.(new Error('the primary could not add up the metrics'));
      else waiting.get(requestId)?.({ contentType, body });
      waiting.delete(requestId);
      failing.delete(requestId);
    },
  };
}
