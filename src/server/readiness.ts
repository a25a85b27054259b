// Whether this process can serve requests, for /health/ready. A probe in the background asks the
// database what tokens ask of it, through the pool that they use: it reads and locks as they do, and
// writes one row. A request learns what the last probe found; it causes none.
//
// The probe also compares the clocks. The lifetimes of tokens are compared with the clock of each
// process, so one that is wrong would accept what has expired, or refuse what is fresh.

import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import type { Log } from '../log.ts';
import { startPeriodicTask } from '../periodic-task.ts';

const INTERVAL_MS = 1_000;
/** A probe that has not answered by then would be answered too late for a token as well. */
const ANSWER_MS = 3_000;
/** Pages that a table has to be extended by: a disk may be full although a small row finds room. */
const FILLER_BYTES = 64 * 1024;
const NO_FILLER = Buffer.alloc(0);

/** The inserts of nothing take the same locks as those of tokens and their audit events. */
const PROBE = {
  name: 'readiness_probe',
  text: `WITH tokens AS (
           INSERT INTO oidc_artifacts_access_tokens (model, id, payload, issued_at)
           SELECT '', ''::bytea, '{}', now() WHERE false
         ), artifacts AS (
           INSERT INTO oidc_artifacts (model, id, payload, issued_at) SELECT '', ''::bytea, '{}', now() WHERE false
         ), events AS (
           INSERT INTO audit_events (type, actor) SELECT '', '' WHERE false
         ), policy AS (
           SELECT FROM clients, users, resource_servers, client_grants WHERE false
         )
         INSERT INTO readiness_probes (process_id, expires_at, filler)
         SELECT $1, now() + interval '1 minute', $2 FROM (SELECT count(*) FROM policy) AS counted
         ON CONFLICT (process_id) DO UPDATE SET expires_at = EXCLUDED.expires_at, filler = EXCLUDED.filler
         RETURNING extract(epoch FROM clock_timestamp())::float8 AS now`,
};

/** Beyond what verifiers tolerate (jwt-access-tokens, RFC 7519 §4.1.4). */
const MOST_CLOCK_SECONDS = 5;
/** A difference that is logged. */
const NOTED_CLOCK_SECONDS = 1;

/** Texts for operators; the last one has a number in it. */
export type NotReady = 'starting' | 'stopping' | 'no signing keys' | 'the database does not take writes' | ClockFault;
type ClockFault = `the clock differs from that of the database by ${number} seconds`;

export interface Readiness {
  /** @returns undefined when requests can be served */
  reason(): NotReady | undefined;
  /** All that an installation prepares at its start is there. */
  completeStart(): void;
  drain(): void;
  /** by how much this process is ahead of the database, as far as one round trip can tell */
  clockOffsetSeconds(): number;
  /** Ends the probes. */
  stop(): Promise<void>;
}

export interface ReadinessDeps {
  readonly database: Pick<Database, 'batchQuery' | 'lastFailureAt'>;
  readonly hasSigningKeys: () => boolean;
  readonly log: Log;
}

export function startReadiness({ database, hasSigningKeys, log }: ReadinessDeps): Readiness {
  const processId = randomUUID();
  let phase: 'starting' | 'serving' | 'stopping' = 'starting';
  /** when the last probe that succeeded was sent, by performance.now() */
  let provenAt = Number.NEGATIVE_INFINITY;

  let clockOffset = 0;
  let loggedOffset = 0;

  async function probe(): Promise<void> {
    const sentAt = performance.now();
    const filler = database.lastFailureAt() < provenAt ? NO_FILLER : randomBytes(FILLER_BYTES);
    const clockAt = Date.now();
    const { rows } = await database.batchQuery<{ now: number }>(PROBE, [processId, filler]);
    provenAt = sentAt;
    noteClock(clockAt / 1000, Date.now() / 1000, oneRow({ rows }).now);
  }

  /** @param now of the database, between `before` and `after` of this process */
  function noteClock(before: number, after: number, now: number): void {
    const offset = now < before ? before - now : Math.min(0, after - now);
    const isNew = Math.abs(offset - loggedOffset) >= NOTED_CLOCK_SECONDS;
    clockOffset = offset;
    if (!isNew) return;
    loggedOffset = offset;
    log.warn(
      { ahead_seconds: Math.round(offset * 10) / 10 },
      'the clock of this machine differs from that of the database',
    );
  }

  const stop = startPeriodicTask(probe, { intervalMs: INTERVAL_MS, onError: () => {} });
  return {
    reason() {
      if (phase !== 'serving') return phase;
      if (!hasSigningKeys()) return 'no signing keys';
      const isProven = provenAt > database.lastFailureAt() && performance.now() - provenAt < INTERVAL_MS + ANSWER_MS;
      if (!isProven) return 'the database does not take writes';
      const seconds = Math.round(Math.abs(clockOffset));
      return seconds > MOST_CLOCK_SECONDS
        ? `the clock differs from that of the database by ${seconds} seconds`
        : undefined;
    },
    completeStart() {
      if (phase === 'starting') phase = 'serving';
    },
    drain() {
      phase = 'stopping';
    },
    clockOffsetSeconds: () => clockOffset,
    stop,
  };
}
