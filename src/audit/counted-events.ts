// Events that a stranger can cause as often as requests can be sent. They are counted in memory, and
// one row tells of many: how often, when first, when last. The first row of a series comes after
// seconds, the next ones later and later, up to one in a quarter of an hour; rows are inserted and
// never changed, as all of the audit log. A process that is killed loses what it has counted since
// its last row; the log has a line for each request.

import type { Query } from '../database/database.ts';
import type { Log } from '../log.ts';
import { startPeriodicTask } from '../periodic-task.ts';
import { type AuditEvent, recordAudit } from './audit.ts';

const FIRST_ROW_MS = 4_000;
/** The window in which logins are counted, unless configured otherwise. */
const LONGEST_MS = 900_000;
const TICK_MS = 2_000;
/** Some megabytes. What has no place of its own is counted together with others of its type. */
const MAX_SERIES = 10_000;

export interface CountedEvents {
  /** @param key what the events of a series have in common, e.g. an address */
  count(key: string, event: AuditEvent): void;
}

interface Series {
  latest: AuditEvent;
  /** since the last row */
  count: number;
  firstAt: Date;
  lastAt: Date;
  delayMs: number;
  /** of the next row, by `performance.now()` */
  dueAt: number;
}

export interface CountedEventsDeps {
  readonly query: Query;
  readonly log: Log;
}

export function startCountedEvents({ query, log }: CountedEventsDeps): CountedEvents & { stop(): Promise<void> } {
  const all = new Map<string, Series>();

  async function write(series: Series): Promise<void> {
    const { latest, count, firstAt, lastAt } = series;
    series.count = 0;
    const detail = { ...latest.detail, count, first_at: firstAt.toISOString(), last_at: lastAt.toISOString() };
    try {
      await recordAudit(query, { ...latest, detail });
    } catch (error) {
      // More may have come meanwhile.
      if (series.count === 0) series.lastAt = lastAt;
      series.count += count;
      series.firstAt = firstAt;
      throw error;
    }
  }

  async function writeDue(now: number): Promise<void> {
    for (const [key, series] of all) {
      if (series.dueAt > now) continue;
      if (series.count === 0) all.delete(key);
      else await write(series);
      series.delayMs = Math.min(series.delayMs * 2, LONGEST_MS);
      series.dueAt = performance.now() + series.delayMs;
    }
  }

  const onError = (error: unknown) => log.warn({ error }, 'counted audit events were not written');
  const stopWriting = startPeriodicTask(() => writeDue(performance.now()), { intervalMs: TICK_MS, onError });

  return {
    count(ownKey, event) {
      const hasPlace = all.has(`${event.type} ${ownKey}`) || all.size < MAX_SERIES;
      const key = hasPlace ? `${event.type} ${ownKey}` : event.type;
      const latest = hasPlace ? event : { type: event.type, actor: 'system' };
      const now = new Date();
      const series = all.get(key);
      if (series === undefined) {
        const dueAt = performance.now() + FIRST_ROW_MS;
        all.set(key, { latest, count: 1, firstAt: now, lastAt: now, delayMs: FIRST_ROW_MS, dueAt });
        return;
      }
      if (series.count === 0) series.firstAt = now;
      Object.assign(series, { latest, count: series.count + 1, lastAt: now });
    },
    async stop() {
      await stopWriting();
      for (const series of all.values()) if (series.count > 0) await write(series).catch(onError);
    },
  };
}
