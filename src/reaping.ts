// Removes idle software that registered itself (clients/idle-clients), for as long as the server runs, in one process of an
// installation; several do no harm.

import { setTimeout as sleep } from 'node:timers/promises';
import { reapIdleClients } from './clients/idle-clients.ts';
import type { Database } from './database/database.ts';
import type { Log } from './log.ts';

const INTERVAL_MS = 3_600_000;

/** @returns a function that stops it and waits for the batch underway */
export function startReaping(database: Database, idleDays: number, log: Log): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        let hasMore = true;
        while (hasMore && !signal.aborted) {
          const reaped = await reapIdleClients(database.query, idleDays);
          if (reaped.clientIds.length > 0) log.info({ client_ids: reaped.clientIds }, 'idle clients removed');
          ({ hasMore } = reaped);
        }
      } catch (error) {
        log.warn({ error }, 'idle clients could not be removed');
      }
      await sleep(INTERVAL_MS, undefined, { ref: false, signal }).catch(() => {});
    }
  }

  const ended = run();
  return async () => {
    stopping.abort();
    await ended;
  };
}
