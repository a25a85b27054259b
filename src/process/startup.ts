// What happens once for an installation, in one process (installation.ts) or in the primary of several (cluster/primary.ts).

import { prepareFirstStart } from '../admin/first-start.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import { migrateToLatest } from '../database/migrations.ts';
import type { Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import { type MetricsListener, serveMetrics } from '../metrics/serve.ts';
import type { PasswordHasher } from '../password-hash.ts';

export interface Instance {
  readonly port: number;
  /** of the listener for certificates, when there is one */
  readonly tlsPort: number | undefined;
  /** of the listener for metrics, when there is one */
  readonly metricsPort: number | undefined;
  /** of the admin client, when it was generated at this start: to be shown once */
  readonly adminClientSecret: string | undefined;
  stop(): Promise<void>;
}

export interface InstanceOptions {
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
}

export async function migrate({ connectionString, log }: InstanceOptions): Promise<void> {
  const applied = await migrateToLatest(connectionString);
  if (applied.length > 0) log.info({ applied }, 'migrations applied');
}

/**
 * The first start comes after listening: it spends a secret that is shown once, and a start that ends at a port that is
 * taken would have spent it unseen.
 */
export function prepareAdminClient(
  { issuer, adminClientSecret }: Config,
  { database, passwords }: { database: Database; passwords: PasswordHasher },
): Promise<string | undefined> {
  return prepareFirstStart({ database, passwords, issuer, adminClientSecret });
}

export function listenForMetrics(
  { metrics }: Config,
  log: Log,
  read: () => Promise<Exposition>,
): Promise<MetricsListener> | undefined {
  const { port, host } = metrics;
  if (port === undefined) return undefined;
  return serveMetrics({ host, port, read, onError: (error) => log.error({ error }, 'the metrics could not be read') });
}
