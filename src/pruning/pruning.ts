// Removes what has expired, for as long as the server runs, on every node without waiting for the others: rounds
// (prune-round.ts) of statements (prune-sweeps.ts), and what is told about them: each round to whoever counts (`onRound`),
// one audit event an hour at most.

import { recordAudit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { createPruner, type PruneReport, pause } from './round.ts';
import type { Retention } from './sweeps.ts';

/** Rows go in small helpings, and an idle round is a dozen quick statements. */
const INTERVAL_MS = 15_000;
/** The audit log must not grow by sweeping. */
const AUDIT_INTERVAL_MS = 3_600_000;

/** One round over every table. What it leaves is told by `isBehind`. */
export async function pruneOnce(database: Database, retention: Retention = {}): Promise<PruneReport> {
  return createPruner(database.query, retention).round();
}

export interface PruningOptions extends Retention {
  /** hears what each round did */
  readonly onRound?: (report: PruneReport) => void;
  /** between two rounds when nothing is left over */
  readonly intervalMs?: number;
}

/**
 * @returns a function that stops the sweeping and waits for the batch underway
 */
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
        await counters.enter(report);
      } catch (error) {
        log.warn({ error }, 'pruning failed');
      }
    }
    await counters.close().catch((error) => log.warn({ error }, 'what was pruned could not be recorded'));
  }

  const ended = run();
  return async () => {
    stopping.abort();
    await ended;
  };
}

/** Adds up what rounds removed, and writes the sums to the audit log now and then. */
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
    async enter(report: PruneReport): Promise<void> {
      for (const [table, rows] of Object.entries(report.removed)) {
        if (rows > 0) removed[table] = (removed[table] ?? 0) + rows;
      }
      longestLagSeconds = Math.max(longestLagSeconds, report.lagSeconds);
      longestBatchMs = Math.max(longestBatchMs, report.longestBatchMs);
      if (Date.now() - since.getTime() >= AUDIT_INTERVAL_MS) await close();
    },
  };
}
