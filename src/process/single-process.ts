// A running Lanyard in one process, as one value: migrations, server process, metrics listener, the first admin client, background
// jobs. main, the demo and the tests start exactly this; with LANYARD_WORKERS above 1, cluster-primary.ts does the same with
// several processes.

import { startServerProcess } from './server-process.ts';
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

export async function startSingleProcess(asked: InstanceOptions): Promise<Instance> {
  const options = await prepareStorage(asked, 1);
  const { config, log } = options;
  await using opening = new AsyncDisposableStack();
  const serverProcess = opening.adopt(await startServerProcess(options), ({ stop }) => stop());
  const metricsPort = await openMetricsListener(config, log, serverProcess.metrics.read, opening);
  giveUpRoot(findSuccessor(options));
  const adminClientSecret = await prepareInstallation(options, serverProcess);
  serverProcess.completeStart();
  serverProcess.startBackgroundJobs();
  const { port, tlsPort } = serverProcess;
  return { port, tlsPort, metricsPort, adminClientSecret, stop: stopOnce(opening.move()) };
}
