// This folder owns the life of the processes of an installation: how they start, what asks them to stop, how they stop. It returns an
// `Instance` (startup.ts), by single-process.ts or cluster-primary.ts, to main, the demo and the tests. What happens once for an
// installation is in startup.ts, the workers of a primary are in worker-pool.ts and cluster-worker.ts.
//
// Here is one process that answers requests: database, keys, server, listeners, and, in one process of an installation, the background
// jobs. It is opened in this order and closed in reverse, also when a start fails halfway.

import { readFileSync } from 'node:fs';
import { startCountedEvents } from '../audit/counted-events.ts';
import type { Config } from '../config/config.ts';
import { createDatabase, type Database } from '../database/database.ts';
import { createJobQueue } from '../database/job-queue.ts';
import { canSign, followKeys } from '../keys/follow-keys.ts';
import { loadInstallationSecret } from '../keys/installation-secret.ts';
import { resealStoredKeys } from '../keys/reseal.ts';
import { createKeyRotation } from '../keys/rotation.ts';
import { deriveKeys, type SecretKeys } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { createMetrics, type Exposition, type Metrics } from '../metrics/metrics.ts';
import { createOutbound } from '../outbound/outbound.ts';
import { type BoundedPasswordHasher, createPasswordHasher, type PasswordHasher, runsAtOnce } from '../password-hash.ts';
import type { LogoutNotice } from '../provider/logout/logout-notices.ts';
import { followDeclaredTypes } from '../resource-servers/declared-types.ts';
import { MAX_ACCESS_TOKEN_SECONDS } from '../resource-servers/resource-server.ts';
import { type Readiness, startReadiness } from '../server/readiness.ts';
import { createServer } from '../server/server.ts';
import type { TlsTexts } from '../server/tls-listener.ts';
import { startBackgroundJobs } from './background-jobs.ts';
import { openListeners } from './listeners.ts';
import { stopOnce } from './stop-once.ts';

export interface ServerProcessOptions {
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly log: Log;
  /** when this process may not be able to read them */
  readonly tlsTexts?: TlsTexts | undefined;
  /** of all processes, when there are several; by default those of this one */
  readonly readMetrics?: () => Promise<Exposition>;
}

export interface ServerProcess {
  readonly port: number;
  /** of the TLS listener, when there is one */
  readonly tlsPort: number | undefined;
  readonly database: Database;
  readonly passwords: PasswordHasher;
  readonly metrics: Metrics;
  /** /health/ready is 503 until then. */
  completeStart(): void;
  /** May be called more than once. */
  startBackgroundJobs(): void;
  /** New connections are refused; open ones keep being served. */
  stopAccepting(): void;
  /** Answers the requests that have begun, then closes everything. Each caller waits for the end of the one stop. */
  stop(): Promise<void>;
}

const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;

/** Takes two and a half seconds on one core, as 200 users on two. */
const MAX_WAITING_CLIENTS = 100;

/** @throws Error when it cannot listen, or LANYARD_SECRET_KEY does not fit the database */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { config, log, readMetrics, tlsTexts } = options;
  await using opening = new AsyncDisposableStack();
  const deps = await openDeps(options, opening);
  const { database, passwords, metrics, readiness } = deps;
  const server = await createServer({
    ...deps,
    metrics: readMetrics === undefined ? metrics : { ...metrics, read: readMetrics },
    version: VERSION,
  });
  // The jobs begin when everything else is open, and stop after the requests that may still need them.
  const backgroundJobs = opening.use(new AsyncDisposableStack());
  let hasBackgroundJobs = false;
  opening.defer(database.hurry);
  const listeners = await openListeners({ config, metrics, log, tlsTexts }, server.handler, opening);
  opening.defer(readiness.drain);
  return {
    port: listeners.port,
    tlsPort: listeners.tlsPort,
    database,
    passwords,
    metrics,
    completeStart: readiness.completeStart,
    startBackgroundJobs() {
      if (hasBackgroundJobs || backgroundJobs.disposed) return;
      hasBackgroundJobs = true;
      backgroundJobs.use(startBackgroundJobs({ ...deps, sendLogoutNotice: server.engine.sendLogoutNotice }));
    },
    stopAccepting() {
      readiness.drain();
      listeners.stopAccepting();
    },
    stop: stopOnce(opening.move()),
  };
}

/** What server and background jobs need. @param opened receives what closes it */
async function openDeps(
  { config, connectionString, secretKey, log }: ServerProcessOptions,
  opened: AsyncDisposableStack,
) {
  const { databasePoolSize: poolSize, databaseQueueSize: queueSize, lifetimes, previousSecretKey } = config;
  const database = opened.adopt(createDatabase({ connectionString, poolSize, queueSize, log }), ({ close }) => close());
  const runs = runsAtOnce(config.workers);
  const passwords = createPasswordHasher({ concurrency: runs.users });
  const clientSecrets = createPasswordHasher({ concurrency: runs.clients, maxWaiting: MAX_WAITING_CLIENTS });
  const countedEvents = opened.adopt(startCountedEvents({ query: database.query, log }), ({ stop }) => stop());
  const secretKeys = deriveKeys(secretKey, previousSecretKey);
  const { sealingKeys, dpopNonceSecret, artifactKey } = secretKeys;
  if (previousSecretKey !== undefined) await resealStoredKeys(database, sealingKeys);
  const keys = opened.adopt(await openKeys(config, secretKeys, database, log), (follower) => follower.stop());
  const hasSigningKeys = () => canSign(keys.current());
  const readiness = opened.adopt(startReadiness({ database, hasSigningKeys, log }), ({ stop }) => stop());
  const schedule = { ...config.keySchedule, keptSeconds: longestUse(lifetimes) };
  const detailsTypes = opened.adopt(await followDeclaredTypes({ database, log }), ({ stop }) => stop());
  const outbound = opened.adopt(createOutbound(config.outbound), ({ close }) => close());
  const recipientOf = ({ clientId }: LogoutNotice) => clientId;
  const logoutNotices = createJobQueue('logout-notices', { database, log, recipientOf });
  opened.defer(logoutNotices.stop);
  return {
    config,
    database,
    passwords,
    clientSecrets,
    countedEvents,
    metrics: createProcessMetrics(config, { database, passwords, clientSecrets, readiness }),
    keys,
    readiness,
    keyRotation: createKeyRotation({ database, sealingKeys, schedule }),
    detailsTypes,
    dpopNonceSecret,
    artifactKey,
    pairwiseSalt: await loadInstallationSecret(database.query, sealingKeys, 'pairwise'),
    outbound,
    logoutNotices,
    log,
  };
}

function openKeys({ keySchedule, lifetimes }: Config, secretKeys: SecretKeys, database: Database, log: Log) {
  const cookies = { rotationDays: keySchedule.rotationDays, sessionSeconds: lifetimes.sessionSeconds };
  return followKeys({ database, secretKeys, cookies, log });
}

interface Watched {
  readonly database: Database;
  readonly passwords: BoundedPasswordHasher;
  readonly clientSecrets: BoundedPasswordHasher;
  readonly readiness: Readiness;
}

function createProcessMetrics(config: Config, watched: Watched): Metrics {
  const { database, passwords, clientSecrets, readiness } = watched;
  const metrics = createMetrics({
    watchesProcess: config.metrics.port !== undefined || config.metrics.isOnPublicPort,
  });
  metrics.watchPool('general', database.pool, database.pool.options.max);
  metrics.watchPool('batch', database.batchPool, database.batchPool.options.max);
  metrics.watchChangeFeed(database.changes);
  metrics.watchPasswords('users', passwords.load);
  metrics.watchPasswords('clients', clientSecrets.load);
  metrics.watchClock(readiness.clockOffsetSeconds);
  return metrics;
}

/** For how long a token that a key has signed may still be presented; an ID token also serves as a hint at the logout. */
function longestUse({ accessTokenSeconds, idTokenSeconds, sessionSeconds }: Config['lifetimes']): number {
  return Math.max(accessTokenSeconds, idTokenSeconds, sessionSeconds, MAX_ACCESS_TOKEN_SECONDS);
}
