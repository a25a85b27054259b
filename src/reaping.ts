// Removes idle software that registered itself (clients/idle-clients), in one process of an installation; several do no harm.

import { reapIdleClients } from './clients/idle-clients.ts';
import type { Database } from './database/database.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';

const INTERVAL_MS = 3_600_000;

/** @returns a function that stops it and waits for the batch underway */
export function startReaping(database: Database, idleDays: number, log: Log): () => Promise<void> {
  return repeat(
    async (signal) => {
      for (let hasMore = true; hasMore && !signal.aborted; ) {
        const reaped = await reapIdleClients(database.query, idleDays);
        if (reaped.clientIds.length > 0) log.info({ client_ids: reaped.clientIds }, 'idle clients removed');
        ({ hasMore } = reaped);
      }
    },
    { intervalMs: INTERVAL_MS, onError: (error) => log.warn({ error }, 'idle clients could not be removed') },
  );
}
