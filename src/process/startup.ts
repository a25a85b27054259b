// What happens once for an installation, in its only process (single-process.ts) or in the primary of several (cluster-primary.ts).

import { flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Account } from '../account/account.ts';
import { becomeForGood, whyCannotBecome } from '../account/root.ts';
import { prepareFirstStart } from '../admin/first-start.ts';
import { OPENID_SCOPES } from '../clients/client.ts';
import type { Config } from '../config/config.ts';
import { userNeeds } from '../database/connection.ts';
import { sharePool } from '../database/connection-budget.ts';
import type { Database } from '../database/database.ts';
import { migrateToLatest } from '../database/migrations.ts';
import type { Log } from '../log.ts';
import type { Exposition } from '../metrics/metrics.ts';
import { createMetricsServer } from '../metrics/serve.ts';
import { standardError, standardOutput } from '../output/output.ts';
import type { PasswordHasher } from '../password-hash.ts';
import { warnOfReservedScopes } from '../resource-servers/reserved-scopes.ts';
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
  /** Resolves when it cannot go on, and should be stopped. */
  readonly failed?: Promise<Error>;
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
  /** that this process becomes when it has opened what only root may open; undefined: it is not root */
  readonly account?: Account | undefined;
}

/** @returns the options with pools for which the database has connections, in that many processes */
export async function prepareStorage(options: InstanceOptions, processes: number): Promise<InstanceOptions> {
  const { config, connectionString, log, stopSignal } = options;
  const applied = await migrateToLatest(connectionString, { log, stopSignal });
  if (applied.length > 0) log.info({ applied }, 'migrations applied');
  const databasePoolSize = await sharePool(connectionString, { processes, poolSize: config.databasePoolSize }, log);
  return { ...options, config: { ...config, databasePoolSize } };
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
  await warnOfReservedScopes(database.query, OPENID_SCOPES, log);
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

interface Successor {
  readonly account: Account | undefined;
}

/** What is loaded by the first request that needs it. */
const LOADED_LATER = ['pg-boss', 'undici'];

/**
 * To be called while nothing opens files.
 * @returns the account that this process, and its workers, can become; none where it could not read the code, which the log says
 */
export function findSuccessor({ account, config, connectionString, log }: InstanceOptions): Successor {
  if (account === undefined) return { account };
  const { tls } = config;
  const { files, mayBePeer } = userNeeds(connectionString);
  const needed = [process.execPath, ...codeFiles(), ...files];
  const reason = mayBePeer
    ? 'DATABASE_URL names a socket and no password, so that another account may be another role'
    : whyCannotBecome(account, needed);
  if (reason !== undefined) {
    log.warn({ uid: account.uid, reason }, 'the server keeps running as root: its account could not do its work');
    return { account: undefined };
  }
  const later = tls && whyCannotBecome(account, [tls.certificateFile, tls.keyFile]);
  if (later !== undefined) {
    log.warn({ uid: account.uid, reason: later }, 'a renewed certificate of the TLS listener needs a restart');
  }
  return { account };
}

export function giveUpRoot({ account }: Successor): void {
  if (account === undefined) return;
  // A terminal is opened by its name, and the cache of compiled modules is root's.
  for (const output of [standardOutput, standardError]) void output.descriptor;
  flushCompileCache();
  becomeForGood(account);
}

/** Of each folder of code one file: a checkout, or an installation of packages, has one mode. */
function codeFiles(): string[] {
  const own = [new URL('../../package.json', import.meta.url).href, import.meta.url];
  return [...own, ...LOADED_LATER.map((name) => import.meta.resolve(name))].map((url) => fileURLToPath(url));
}
