// What an installation does beside answering requests: it removes what has expired, keeps the schedule of the signing keys, delivers
// logout notices, gives user names their keys, and removes idle clients. One process of an installation is enough; several do no harm.

import { startIdleClientRemoval } from '../clients/registration/idle-clients.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { KeyRotation } from '../keys/rotation.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { startPeriodicTask } from '../periodic-task.ts';
import { startLogoutDelivery } from '../provider/logout/logout-delivery.ts';
import type { LogoutNotices, SendLogoutNotice } from '../provider/logout/logout-notices.ts';
import { startPruning } from '../pruning/pruning.ts';
import type { PruneReport } from '../pruning/round.ts';
import { startUsernameKeys } from '../users/username-keys.ts';

export interface BackgroundJobDeps {
  readonly config: Pick<Config, 'auditRetentionDays' | 'registration'>;
  readonly database: Database;
  readonly keyRotation: KeyRotation;
  readonly logoutNotices: LogoutNotices;
  readonly sendLogoutNotice: SendLogoutNotice;
  readonly metrics: Metrics;
  readonly log: Log;
}

const KEY_SCHEDULE_INTERVAL_MS = 60_000;

/** @returns what stops them, each after the work that it has begun */
export function startBackgroundJobs(deps: BackgroundJobDeps): AsyncDisposableStack {
  const { config, database, keyRotation, metrics, log } = deps;
  const { auditRetentionDays, registration } = config;
  const jobs = new AsyncDisposableStack();
  jobs.defer(startPruning(database, log, { auditRetentionDays, onRound: (report) => countPruned(metrics, report) }));
  jobs.defer(
    startPeriodicTask(keyRotation.keepSchedule, {
      intervalMs: KEY_SCHEDULE_INTERVAL_MS,
      onError: (error) => log.error({ error }, 'the schedule of the signing keys could not be kept'),
    }),
  );
  jobs.defer(startLogoutDelivery({ database, notices: deps.logoutNotices, send: deps.sendLogoutNotice, metrics, log }));
  jobs.defer(startUsernameKeys({ database, log }));
  if (registration.idleDays !== undefined) jobs.defer(startIdleClientRemoval(database, registration.idleDays, log));
  return jobs;
}

function countPruned(metrics: Metrics, { removed, lagSeconds }: PruneReport): void {
  for (const [table, rows] of Object.entries(removed)) if (rows > 0) metrics.pruned(table, rows);
  metrics.pruneSucceeded(lagSeconds);
}
