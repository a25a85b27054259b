// A running Lanyard in one process, as one value: migrations -> serving -> the first admin client -> pruning, metrics. main, the
// demo and the tests start exactly this; with LANYARD_WORKERS above 1, cluster/primary.ts does the same with several processes.

import type { MetricsListener } from '../metrics/serve.ts';
import { startServing } from './server-process.ts';
import {
  type Installation,
  type InstallationOptions,
  listenForMetrics,
  migrate,
  prepareAdminClient,
} from './startup.ts';

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const { config, log } = options;
  await migrate(options);
  const serving = await startServing(options);
  let metricsListener: MetricsListener | undefined;
  try {
    metricsListener = await listenForMetrics(config, log, serving.metrics.read);
    const adminClientSecret = await prepareAdminClient(config, serving);
    serving.prune();
    return {
      port: serving.port,
      tlsPort: serving.tlsPort,
      metricsPort: metricsListener?.port,
      adminClientSecret,
      async stop() {
        await serving.stop();
        await metricsListener?.close();
      },
    };
  } catch (error) {
    await metricsListener?.close();
    await serving.stop();
    throw error;
  }
}
