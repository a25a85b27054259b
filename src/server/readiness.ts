// Whether this process can serve requests, for /health/ready. A probe in the background asks the
// database what tokens ask of it, through the pool that they use: it reads and locks as they do, and
// writes one row. A request learns what the last probe found; it causes none.

import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '../database/database.ts';
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
         ON CONFLICT (process_id) DO UPDATE SET expires_at = EXCLUDED.expires_at, filler = EXCLUDED.filler`,
};

export type NotReady = 'starting' | 'stopping' | 'no signing keys' | 'the database does not take writes';

export interface Readiness {
  /** @returns undefined when requests can be served */
  reason(): NotReady | undefined;
  /** All that an installation prepares at its start is there. */
  completeStart(): void;
  drain(): void;
  /** Ends the probes. */
  stop(): Promise<void>;
}

export interface ReadinessDeps {
  readonly database: Pick<Database, 'batchQuery' | 'lastFailureAt'>;
  readonly hasSigningKeys: () => boolean;
}

export function startReadiness({ database, hasSigningKeys }: ReadinessDeps): Readiness {
  const processId = randomUUID();
  let phase: 'starting' | 'serving' | 'stopping' = 'starting';
  /** when the last probe that succeeded was sent, by performance.now() */
  let provenAt = Number.NEGATIVE_INFINITY;

  async function probe(): Promise<void> {
    const sentAt = performance.now();
    const filler = database.lastFailureAt() < provenAt ? NO_FILLER : randomBytes(FILLER_BYTES);
    await database.batchQuery(PROBE, [processId, filler]);
    provenAt = sentAt;
  }

  const stop = startPeriodicTask(probe, { intervalMs: INTERVAL_MS, onError: () => {} });
  return {
    reason() {
      if (phase !== 'serving') return phase;
      if (!hasSigningKeys()) return 'no signing keys';
      const isProven = provenAt > database.lastFailureAt() && performance.now() - provenAt < INTERVAL_MS + ANSWER_MS;
      return isProven ? undefined : 'the database does not take writes';
    },
    completeStart() {
      if (phase === 'starting') phase = 'serving';
    },
    drain() {
      phase = 'stopping';
    },
    stop,
  };
}
