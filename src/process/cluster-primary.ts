// Several processes on one port (LANYARD_WORKERS above 1). The primary does what happens once: migrations, the first admin client,
// the sum of the metrics. It answers no request itself; its workers do (worker-pool.ts, cluster-worker.ts).

import { createDatabase } from '../database/database.ts';
import { createPasswordHasher } from '../password-hash.ts';
import { readTlsTexts } from '../server/tls-listener.ts';
import {
  findSuccessor,
  giveUpRoot,
  type Instance,
  type InstanceOptions,
  openMetricsListener,
  prepareInstallation,
  prepareStorage,
} from './startup.ts';
import { stopOnce } from './stop-once.ts';
import { WorkerPool } from './worker-pool.ts';

/** @throws Error when the first workers cannot start, with the reason of one of them */
export async function startCluster(asked: InstanceOptions): Promise<Instance> {
  const options = await prepareStorage(asked, asked.config.workers);
  const { config, log } = options;
  await using opening = new AsyncDisposableStack();
  const tlsTexts = config.tls && (await readTlsTexts(config.tls));
  const successor = findSuccessor(options);
  const { account } = successor;
  const workers = opening.adopt(new WorkerPool({ ...options, account, tlsTexts }), (pool) => pool.stop());
  const { port, tlsPort } = await workers.start(config.workers);
  const metricsPort = await openMetricsListener(config, log, workers.readMetrics, opening);
  giveUpRoot(successor);
  const adminClientSecret = await prepareOnce(options);
  workers.completeStart();
  const { failed } = workers;
  return { port, tlsPort, metricsPort, adminClientSecret, failed, stop: stopOnce(opening.move()) };
}

async function prepareOnce(options: InstanceOptions): Promise<string | undefined> {
  const { config, connectionString, log } = options;
  const { databaseQueueSize: queueSize } = config;
  await using opened = new AsyncDisposableStack();
  const pool = { connectionString, poolSize: 2, queueSize, log };
  const database = opened.adopt(createDatabase(pool), ({ close }) => close());
  return await prepareInstallation(options, { database, passwords: createPasswordHasher() });
}
