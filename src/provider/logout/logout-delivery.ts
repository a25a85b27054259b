// Delivers the notices of logouts (logout-notices), in one process of an installation, as soon as a
// client has registered for them.

import { recordAudit } from '../../audit/audit.ts';
import { wantsLogoutNotices } from '../../clients/store.ts';
import type { Database } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { startPeriodicTask } from '../../periodic-task.ts';
import type { LogoutNotices, SendLogoutNotice } from './logout-notices.ts';

export interface LogoutDeliveryDeps {
  readonly database: Database;
  readonly notices: LogoutNotices;
  readonly send: SendLogoutNotice;
  readonly metrics: Pick<Metrics, 'logoutNoticeSent'>;
  readonly log: Log;
}

/** In case a notification of the database was missed. */
const INTERVAL_MS = 60_000;

/** @returns stops it from beginning; a delivery that is underway ends with the queue */
export function startLogoutDelivery({
  database,
  notices,
  send,
  metrics,
  log,
}: LogoutDeliveryDeps): () => Promise<void> {
  let working: Promise<void> | undefined;
  let isStopped = false;

  async function beginIfNeeded(): Promise<void> {
    if (working !== undefined || isStopped || !(await wantsLogoutNotices(database.query)) || isStopped) return;
    working ??= notices.work(deliver);
    await working.catch((error) => {
      working = undefined;
      throw error;
    });
  }

  const deliver: Parameters<LogoutNotices['work']>[0] = async (notice, { isLast }) => {
    const { clientId, accountId, sid } = notice;
    try {
      if ((await send(notice)) === undefined) return;
      metrics.logoutNoticeSent('delivered');
      await record('logout_notice.delivered');
    } catch (error) {
      metrics.logoutNoticeSent(isLast ? 'given up' : 'failed');
      log.warn({ error, client_id: clientId, is_last: isLast }, 'a logout notice was not delivered');
      if (isLast) await record('logout_notice.given_up');
      // The queue tries again, whatever the reason.
      throw new Error('not delivered');
    }

    function record(type: 'logout_notice.delivered' | 'logout_notice.given_up'): Promise<void> {
      return recordAudit(database.query, { type, actor: 'system', clientId, accountId, detail: { sid } });
    }
  };

  const onError = (error: unknown) => log.warn({ error }, 'the delivery of logout notices could not begin');
  database.changes.subscribe('client', () => void beginIfNeeded().catch(onError));
  const stopAsking = startPeriodicTask(beginIfNeeded, { intervalMs: INTERVAL_MS, onError });
  return async () => {
    isStopped = true;
    await stopAsking();
    await working?.catch(() => {});
  };
}
