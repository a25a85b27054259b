// One process that answers: configuration -> database -> keys -> server -> listening, and the sweeping of what has expired if
// this is the process that does it. `stop` undoes it in reverse order. What happens once for a whole installation (migrations,
// the first admin client) is in installation.ts and cluster/primary.ts.

import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { Server as NetServer } from 'node:net';
import { startIdleClientRemoval } from '../clients/registration/idle-clients.ts';
import type { Config } from '../config/config.ts';
import { createDatabase, type Database } from '../database/database.ts';
import { createJobQueue } from '../database/job-queue.ts';
import { followKeys } from '../keys/follow-keys.ts';
import { loadInstallationSecret } from '../keys/installation-secret.ts';
import { resealStoredKeys } from '../keys/reseal.ts';
import { createKeyRotation } from '../keys/rotation.ts';
import { deriveKeys } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { createMetrics, type Exposition, type Metrics } from '../metrics/metrics.ts';
import { createOutbound } from '../outbound/outbound.ts';
import { createPasswordHasher, type PasswordHasher, runsAtOnce } from '../password-hash.ts';
import { startPeriodicTask } from '../periodic-task.ts';
import { startLogoutDelivery } from '../provider/logout/logout-delivery.ts';
import type { LogoutNotices } from '../provider/logout/logout-notices.ts';
import { startPruning } from '../pruning/pruning.ts';
import type { PruneReport } from '../pruning/round.ts';
import { MAX_ACCESS_TOKEN_SECONDS } from '../resource-servers/resource-server.ts';
import { gracefulShutdownOf } from '../server/graceful-shutdown.ts';
import { createServer } from '../server/server.ts';
import { openTlsListener } from '../server/tls-listener.ts';

export interface ServerProcessOptions {
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
  /** of all processes, when there are several; by default those of this one */
  readonly readMetrics?: () => Promise<Exposition>;
}

export interface ServerProcess {
  readonly port: number;
  /** of the listener for certificates, when there is one */
  readonly tlsPort: number | undefined;
  readonly database: Database;
  readonly passwords: PasswordHasher;
  readonly metrics: Metrics;
  /** Begins to remove what has expired, and to keep the schedule of the keys. One process of an installation is enough; several do no harm. */
  prune(): void;
  /** Nobody new is let in; whoever is in stays as welcome as before. */
  stopAccepting(): void;
  /** Closes the door, finishes what has begun, and ends. */
  stop(): Promise<void>;
}

const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;

const KEY_SCHEDULE_INTERVAL_MS = 60_000;
/** A client that sends its request this slowly means no good. */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: 30_000 };

/** @throws Error when it cannot listen, or LANYARD_SECRET_KEY does not fit the database */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { config, connectionString, log } = options;
  const database = createDatabase({
    connectionString,
    poolSize: config.databasePoolSize,
    queueSize: config.databaseQueueSize,
    log,
  });
  /** In the reverse order in which they were opened, whether the start fails or the end has come. */
  const cleanUps: (() => unknown)[] = [() => database.close()];
  async function cleanUp(): Promise<void> {
    for (const each of cleanUps.reverse()) await each();
  }
  try {
    const passwords = createPasswordHasher({ concurrency: runsAtOnce(config.workers) });
    const metrics = watch(database, config);
    metrics.watchPasswords(passwords.load);
    const secretKeys = deriveKeys(options.secretKey, config.previousSecretKey);
    const { sealingKeys, dpopNonceSecret, artifactKey } = secretKeys;
    if (config.previousSecretKey !== undefined) await resealStoredKeys(database, sealingKeys);
    const { keySchedule, lifetimes } = config;
    const cookies = { rotationDays: keySchedule.rotationDays, sessionSeconds: lifetimes.sessionSeconds };
    const keys = await followKeys({ database, secretKeys, cookies, log });
    cleanUps.push(() => keys.stop());
    const schedule = { ...keySchedule, keptSeconds: longestMemory(lifetimes) };
    const keyRotation = createKeyRotation({ database, sealingKeys, schedule });
    const outbound = createOutbound(config.outbound);
    cleanUps.push(() => outbound.close());
    const logoutNotices: LogoutNotices = createJobQueue('logout-notices', {
      database,
      log,
      recipientOf: ({ clientId }) => clientId,
    });
    cleanUps.push(() => logoutNotices.stop());
    const server = await createServer({
      config,
      database,
      keys,
      keyRotation,
      dpopNonceSecret,
      artifactKey,
      pairwiseSalt: await loadInstallationSecret(database.query, sealingKeys, 'pairwise'),
      outbound,
      logoutNotices,
      passwords,
      metrics: options.readMetrics === undefined ? metrics : { ...metrics, read: options.readMetrics },
      log,
      version: VERSION,
    });
    let backgroundJobs: (() => Promise<void>)[] = [];
    cleanUps.push(() => Promise.all(backgroundJobs.map((stop) => stop())));
    const http = createHttpServer(TIMEOUTS, server.handler);
    const tls = config.tls && (await openTlsListener(config.tls, TIMEOUTS, server.handler, log));
    cleanUps.push(() => tls?.close());
    const listeners = [http, ...(tls === undefined ? [] : [tls.server])].map(gracefulShutdownOf);
    cleanUps.push(() => Promise.all(listeners.map((listener) => listener.emptied())));
    const port = await listen(http, config, 'LANYARD_PORT');
    const tlsPort = tls && (await listen(tls.server, { ...config, port: tls.port }, 'LANYARD_TLS_PORT'));
    return {
      port,
      tlsPort,
      database,
      passwords,
      metrics,
      prune() {
        if (backgroundJobs.length > 0) return;
        backgroundJobs = [
          startPruning(database, log, {
            auditRetentionDays: config.auditRetentionDays,
            onRound: (report) => countPruned(metrics, report),
          }),
          startPeriodicTask(keyRotation.keepSchedule, {
            intervalMs: KEY_SCHEDULE_INTERVAL_MS,
            onError: (error) => log.error({ error }, 'the schedule of the signing keys could not be kept'),
          }),
          startLogoutDelivery({ database, notices: logoutNotices, send: server.engine.sendLogoutNotice, metrics, log }),
        ];
        const { idleDays } = config.registration;
        if (idleDays !== undefined) backgroundJobs.push(startIdleClientRemoval(database, idleDays, log));
      },
      stopAccepting() {
        server.drain();
        for (const listener of listeners) listener.close();
      },
      async stop() {
        server.drain();
        await cleanUp();
      },
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

function watch(database: Database, config: Config): Metrics {
  const metrics = createMetrics({
    watchesProcess: config.metrics.port !== undefined || config.metrics.isOnPublicPort,
  });
  metrics.watchPool('general', database.pool, database.pool.options.max);
  metrics.watchPool('batch', database.batchPool, database.batchPool.options.max);
  metrics.watchChangeFeed(database.changes);
  return metrics;
}

/** Somebody may still present, until then, what a key has signed; ID tokens serve as hints at the logout too. */
function longestMemory({ accessTokenSeconds, idTokenSeconds, sessionSeconds }: Config['lifetimes']): number {
  return Math.max(accessTokenSeconds, idTokenSeconds, sessionSeconds, MAX_ACCESS_TOKEN_SECONDS);
}

function countPruned(metrics: Metrics, { removed, lagSeconds }: PruneReport): void {
  for (const [table, rows] of Object.entries(removed)) if (rows > 0) metrics.pruned(table, rows);
  metrics.pruneSucceeded(lagSeconds);
}

function listen(http: NetServer, { port, host }: Pick<Config, 'port' | 'host'>, variable: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const text = `cannot listen on LANYARD_HOST ${host}, ${variable} ${port}: ${cause.message}`;
      reject(Object.assign(new Error(text, { cause }), { code: cause.code }));
    };
    http.once('error', refuse);
    http.listen(port, host, () => {
      http.off('error', refuse);
      resolve((http.address() as { port: number }).port);
    });
  });
}
