// Removes expired rows for as long as the server runs; any number of nodes may do so at once. This folder owns the list of tables that
// expire and the statements that sweep them (sweeps.ts), the rounds over these tables (round.ts), and, here, their repetition. It
// reports each round, for the metrics, and writes one audit event an hour at most.

import { recordAudit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { createPruner, type PruneReport, pause } from './round.ts';
import type { Retention } from './sweeps.ts';

/** A round that finds nothing is a dozen quick statements. */
const INTERVAL_MS = 15_000;
/** The audit log must not grow much by sweeping. */
const AUDIT_INTERVAL_MS = 3_600_000;

/** One round over every table. `isBehind` in the report says whether rows are left. */
export async function pruneOnce(database: Database, retention: Retention = {}): Promise<PruneReport> {
  return createPruner(database.query, retention).round();
}

export interface PruningOptions extends Retention {
  /** receives what each round did */
  readonly onRound?: (report: PruneReport) => void;
  /** between two rounds when no row is left */
  readonly intervalMs?: number;
}

/** @returns a function that stops the sweeping, and resolves when the batch underway has ended */
export function startPruning(
  database: Database,
  log: Log,
  { onRound = () => {}, intervalMs = INTERVAL_MS, ...retention }: PruningOptions = {},
): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pruner = createPruner(database.query, retention);
  const counters = createCounters(database);

  async function run(): Promise<void> {
    for (let isBehind = false; ; ) {
      await pause(isBehind ? 0 : intervalMs, signal);
      if (signal.aborted) break;
      isBehind = false;
      try {
        const report = await pruner.round(signal);
        isBehind = report.isBehind;
        log.debug({ ...report }, 'pruned');
        onRound(report);
        await counters.add(report);
      } catch (error) {
        log.warn({ error }, 'pruning failed');
      }
    }
    await counters.close().catch((error) => log.warn({ error }, 'the pruned rows could not be recorded'));
  }

  const ended = run();
  return async () => {
    stopping.abort();
    await ended;
  };
}

/** Adds up what rounds have removed, and writes the sums to the audit log after each interval. */
function createCounters(database: Database) {
  let since = new Date();
  let removed: Record<string, number> = {};
  let longestLagSeconds = 0;
  let longestBatchMs = 0;

  async function close(): Promise<void> {
    const ofEvent = { since: since.toISOString(), removed, longest_lag_seconds: Math.round(longestLagSeconds) };
    const hasRemoved = Object.keys(removed).length > 0;
    const detail = { ...ofEvent, longest_batch_ms: Math.round(longestBatchMs) };
    since = new Date();
    removed = {};
    longestLagSeconds = 0;
    longestBatchMs = 0;
    if (hasRemoved) await recordAudit(database.query, { type: 'storage.pruned', actor: 'system', detail });
  }

  return {
    close,
    async add(report: PruneReport): Promise<void> {
      for (const [table, rows] of Object.entries(report.removed)) {
        if (rows > 0) removed[table] = (removed[table] ?? 0) + rows;
      }
      longestLagSeconds = Math.max(longestLagSeconds, report.lagSeconds);
      longestBatchMs = Math.max(longestBatchMs, report.longestBatchMs);
      if (Date.now() - since.getTime() >= AUDIT_INTERVAL_MS) await close();
    },
  };
}
