// One round of the pruner: every table once, in batches that are bounded in rows and adapt to the time they take, with a pause after
// each, so that requests do not slow down. Several nodes may do this at once.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Query } from '../database/database.ts';
import { type Batch, keptSeconds, PRUNED_TABLES, type PrunedTable, type Retention, sweepOf } from './sweeps.ts';

/** The time a batch should take at most, since requests wait for the same disk and CPU. */
const BATCH_MS = 50;
const FIRST_BATCH_ROWS = 250;
const LEAST_BATCH_ROWS = 50;
/** Larger batches are hardly faster per row, and write so much at once that other commits wait for them (bench/growth). */
const MOST_BATCH_ROWS = 250;
/** Three times the duration of the batch: a quarter of one connection's time, some 50,000 rows a second (bench/growth). */
const PAUSE_FACTOR = 3;
/** Rows that have been due for this long show that a quarter is not enough: half of the time then. */
const BEHIND_SECONDS = 600;
const PAUSE_FACTOR_BEHIND = 1;
/** After this time the next table follows: a backlog in one must not let the others grow. */
const TABLE_MS = 10_000;
/** How often each table is swept from its oldest row, for rows that were locked when the sweep passed. */
const FROM_THE_START_MS = 3_600_000;

export interface PruneReport {
  readonly removed: Readonly<Record<PrunedTable, number>>;
  /** how long the oldest removed row had been due; 0 when none was */
  readonly lagSeconds: number;
  readonly durationMs: number;
  /** of the duration, the time that statements took; the rest are pauses */
  readonly busyMs: number;
  readonly batches: number;
  readonly longestBatchMs: number;
  /** rows are left: the next round need not wait */
  readonly isBehind: boolean;
}

/** What the pruner knows of a table between two batches. */
interface Progress {
  readonly table: PrunedTable;
  /** for how long a row is kept after the instant that decides about it */
  readonly keptSeconds: number;
  batchRows: number;
  /** that instant of the newest removed row, in seconds since 1970 */
  from: number;
  startOverAt: number;
}

export interface Pruner {
  /** Ends early, between two batches, when `signal` is aborted. */
  round(signal?: AbortSignal): Promise<PruneReport>;
}

export function createPruner(query: Query, retention: Retention = {}): Pruner {
  const tables = PRUNED_TABLES.flatMap((table): Progress[] => {
    const kept = keptSeconds(table, retention);
    return kept === undefined
      ? []
      : [{ table, keptSeconds: kept, batchRows: FIRST_BATCH_ROWS, from: 0, startOverAt: 0 }];
  });
  return {
    async round(signal) {
      const startedAt = performance.now();
      const removed = Object.fromEntries(PRUNED_TABLES.map((table) => [table, 0])) as Record<PrunedTable, number>;
      const report = { removed, lagSeconds: 0, busyMs: 0, batches: 0, longestBatchMs: 0, isBehind: false };
      for (const progress of tables) await sweepTable(query, progress, report, signal);
      return { ...report, durationMs: performance.now() - startedAt };
    },
  };
}

type Counting = { -readonly [K in keyof Omit<PruneReport, 'durationMs' | 'removed'>]: PruneReport[K] } & {
  readonly removed: Record<PrunedTable, number>;
};

async function sweepTable(query: Query, progress: Progress, report: Counting, signal?: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  if (startedAt >= progress.startOverAt) {
    progress.from = 0;
    progress.startOverAt = startedAt + FROM_THE_START_MS;
  }
  while (!signal?.aborted) {
    const batchAt = performance.now();
    const { rows } = await query<Batch>(sweepOf(progress.table), [
      progress.batchRows,
      progress.from,
      progress.keptSeconds,
    ]);
    const tookMs = performance.now() - batchAt;
    const batch = rows[0] as Batch;
    const lagSeconds = batch.oldest === null ? 0 : batch.now - progress.keptSeconds - batch.oldest;
    const isLast = batch.removed < progress.batchRows;

    progress.from = batch.newest ?? progress.from;
    progress.batchRows = nextBatchRows(progress.batchRows, batch.removed, tookMs);
    report.removed[progress.table] += batch.removed;
    report.busyMs += tookMs;
    report.batches += 1;
    report.longestBatchMs = Math.max(report.longestBatchMs, tookMs);
    report.lagSeconds = Math.max(report.lagSeconds, lagSeconds);

    if (isLast) return;
    if (performance.now() - startedAt > TABLE_MS) {
      report.isBehind = true;
      return;
    }
    await pause(tookMs * (lagSeconds > BEHIND_SECONDS ? PAUSE_FACTOR_BEHIND : PAUSE_FACTOR), signal);
  }
}

/** Halves a batch that took too long; grows slowly, after full batches only, since a short one says nothing about the time. */
export function nextBatchRows(rows: number, removed: number, tookMs: number): number {
  if (tookMs > BATCH_MS) return Math.max(LEAST_BATCH_ROWS, Math.floor(rows / 2));
  if (removed === rows && tookMs < BATCH_MS / 2) return Math.min(MOST_BATCH_ROWS, Math.ceil(rows * 1.5));
  return rows;
}

/** Ends at once when the signal is aborted; does not keep the process alive. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { ref: false, ...(signal && { signal }) }).catch((error) => {
    if (!signal?.aborted) throw error;
  });
}
