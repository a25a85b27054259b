// A running Lanyard in one process, as one value: migrations ->  -> the first admin client -> pruning, metrics. main, the
// demo and the tests start exactly this; with LANYARD_WORKERS above 1, cluster/primary.ts does the same with several processes.

import type { MetricsListener } from '../metrics/serve.ts';
import { startServerProcess } from './server-process.ts';
import { type Instance, type InstanceOptions, listenForMetrics, migrate, prepareAdminClient } from './startup.ts';

export async function startSingleProcess(options: InstanceOptions): Promise<Instance> {
  const { config, log } = options;
  await migrate(options);
  const serverProcess = await startServerProcess(options);
  let metricsListener: MetricsListener | undefined;
  try {
    metricsListener = await listenForMetrics(config, log, serverProcess.metrics.read);
    const adminClientSecret = await prepareAdminClient(config, serverProcess);
    serverProcess.prune();
    return {
      port: serverProcess.port,
      tlsPort: serverProcess.tlsPort,
      metricsPort: metricsListener?.port,
      adminClientSecret,
      async stop() {
        await serverProcess.stop();
        await metricsListener?.close();
      },
    };
  } catch (error) {
    await metricsListener?.close();
    await serverProcess.stop();
    throw error;
  }
}
