// A running Lanyard as one value: configuration -> database -> keys -> server -> listening; `stop` undoes it in reverse order.
// main, the demo and the tests start exactly this.

import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { prepareFirstStart } from './admin/first-start.ts';
import type { Config } from './config.ts';
import { createDatabase } from './database/database.ts';
import { migrateToLatest } from './database/migrations.ts';
import { loadSigningKeys } from './keys/key-ring.ts';
import { deriveKeys } from './keys/seal.ts';
import type { Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';
import { type MetricsListener, serveMetrics } from './metrics/serve.ts';
import { createPasswordHasher } from './password-hash.ts';
import { startPruning } from './provider/prune.ts';
import { createServer } from './server.ts';
import { VERSION } from './version.ts';

export interface Installation {
  readonly port: number;
  /** of the listener for metrics, when there is one */
  readonly metricsPort: number | undefined;
  /** of the admin client, when it was generated at this start: to be shown once */
  readonly adminClientSecret: string | undefined;
  stop(): Promise<void>;
}

export interface InstallationOptions {
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
}

/** Connections that are still open then are cut: whoever runs us will not wait longer either. */
const DRAIN_MS = 10_000;
/** A client that sends its request this slowly means no good. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const { config, connectionString, log } = options;
  const applied = await migrateToLatest(connectionString);
  if (applied.length > 0) log.info({ applied }, 'migrations applied');

  const database = createDatabase({
    connectionString,
    poolSize: config.databasePoolSize,
    queueSize: config.databaseQueueSize,
    log,
  });
  let metricsListener: MetricsListener | undefined;
  try {
    const keys = deriveKeys(options.secretKey);
    const signingKeys = await loadSigningKeys(database, keys.sealingKey);
    const passwords = createPasswordHasher();
    const metrics = createMetrics({
      watchesProcess: config.metrics.port !== undefined || config.metrics.isOnPublicPort,
    });
    metrics.watchPool('general', database.pool, database.pool.options.max);
    metrics.watchPool('hot', database.hotPool, database.hotPool.options.max);
    metrics.watchChangeFeed(database.changes);
    metrics.watchPasswords(passwords.load);
    const server = await createServer({
      config,
      database,
      signingKeys,
      cookieKeys: keys.cookieKeys,
      passwords,
      metrics,
      log,
      version: VERSION,
    });
    metricsListener = await listenForMetrics(config, metrics, log);
    const http = createHttpServer(
      { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
      server.handler,
    );
    const port = await listen(http, config);
    const adminClientSecret = await prepareOrClose(http, () =>
      prepareFirstStart({ database, passwords, issuer: config.issuer, adminClientSecret: config.adminClientSecret }),
    );
    const stopPruning = startPruning(database, log, {
      onRound({ removed, lagSeconds }) {
        for (const [table, rows] of Object.entries(removed)) metrics.pruned(table, rows);
        metrics.pruneSucceeded(lagSeconds);
      },
    });
    return {
      port,
      metricsPort: metricsListener?.port,
      adminClientSecret,
      async stop() {
        await close(http);
        await stopPruning();
        await metricsListener?.close();
        await database.close();
      },
    };
  } catch (error) {
    await metricsListener?.close();
    await database.close();
    throw error;
  }
}

/**
 * The first start comes after listening: it spends a secret that is shown once, and a start that ends at a port that is
 * taken would have spent it unseen.
 */
async function prepareOrClose<T>(http: HttpServer, prepare: () => Promise<T>): Promise<T> {
  try {
    return await prepare();
  } catch (error) {
    await close(http);
    throw error;
  }
}

function listenForMetrics(config: Config, metrics: Metrics, log: Log): Promise<MetricsListener> | undefined {
  const { port, host } = config.metrics;
  if (port === undefined) return undefined;
  const onError = (error: unknown) => log.error({ error }, 'the metrics could not be read');
  return serveMetrics({ host, port, read: metrics.read, onError });
}

function listen(http: HttpServer, { port, host }: Config): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const text = `cannot listen on LANYARD_HOST ${host}, LANYARD_PORT ${port}: ${cause.message}`;
      reject(Object.assign(new Error(text, { cause }), { code: cause.code }));
    };
    http.once('error', refuse);
    http.listen(port, host, () => {
      http.off('error', refuse);
      resolve((http.address() as { port: number }).port);
    });
  });
}

/** Finishes the requests that have begun; connections that only wait are closed at once. */
function close(http: HttpServer): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => http.closeAllConnections(), DRAIN_MS);
    // A connection whose answer is still due is not kept for another request (0 would mean: for ever).
    Object.assign(http, { keepAliveTimeout: 1, keepAliveTimeoutBuffer: 0 });
    http.close(() => {
      clearTimeout(timer);
      resolve();
    });
    http.closeIdleConnections();
  });
}
