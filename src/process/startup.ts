// What happens once for an installation, in its only process (single-process.ts) or in the primary of several (cluster-primary.ts).

import { prepareFirstStart } from '../admin/first-start.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import { migrateToLatest } from '../database/migrations.ts';
import type { Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import { createMetricsServer } from '../metrics/serve.ts';
import type { PasswordHasher } from '../password-hash.ts';
import { completeUsernameKeys } from '../users/username-keys.ts';
import { listen } from './listen.ts';

export interface Instance {
  readonly port: number;
  /** of the TLS listener, when there is one */
  readonly tlsPort: number | undefined;
  /** of the listener for metrics, when there is one */
  readonly metricsPort: number | undefined;
  /** of the admin client, when it was generated at this start: to be shown once */
  readonly adminClientSecret: string | undefined;
  /** Answers the requests that have begun, then closes everything. Each caller waits for the end of the one stop. */
  stop(): Promise<void>;
}

export interface InstanceOptions {
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
  /** ends a start that waits for another server to migrate */
  readonly stopSignal?: AbortSignal;
}

export async function migrate({ connectionString, log, stopSignal }: InstanceOptions): Promise<void> {
  const applied = await migrateToLatest(connectionString, { log, stopSignal });
  if (applied.length > 0) log.info({ applied }, 'migrations applied');
}

/**
 * What migrations leave to the application, and the first admin client.
 * To be called when everything listens: it stores the hash of a secret that is shown once, and a start that fails afterwards,
 * because a port is taken, would have used it up unseen.
 */
export async function prepareInstallation(
  { config: { issuer, adminClientSecret }, log }: Pick<InstanceOptions, 'config' | 'log'>,
  { database, passwords }: { database: Database; passwords: PasswordHasher },
): Promise<string | undefined> {
  await completeUsernameKeys({ database, log });
  return prepareFirstStart({ database, passwords, issuer, adminClientSecret });
}

/** @param opened receives what closes it. @returns its port; undefined without LANYARD_METRICS_PORT */
export async function openMetricsListener(
  { metrics: { host, port } }: Config,
  log: Log,
  read: () => Promise<Exposition>,
  opened: AsyncDisposableStack,
): Promise<number | undefined> {
  if (port === undefined) return undefined;
  const onError = (error: unknown) => log.error({ error }, 'the metrics could not be read');
  const server = createMetricsServer({ read, onError });
  opened.defer(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A scrape that is cut off is repeated; stopping does not wait for it.
        server.closeAllConnections();
      }),
  );
  const variables = { host: 'LANYARD_METRICS_HOST', port: 'LANYARD_METRICS_PORT' };
  return listen(server, { host, port, variables });
}
