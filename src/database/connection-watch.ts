// Finds the connections to PostgreSQL that were cut without a word (a firewall that has lost its
// state, an address that has moved): neither end is told, and TCP would wait for a quarter of an
// hour. They are destroyed, which fails what waits on them.
//
// One timer for all of them, which counts its own ticks and not the time: a process that was stopped
// for a minute has not waited for a minute, and finds the answers that have arrived meanwhile.

import type pg from 'pg';

const TICK_MS = 250;

export interface ConnectionWatch {
  /**
   * To be called before its first statement.
   * @param answerSeconds by when a statement is answered, at the latest
   */
  add(client: pg.ClientBase, answerSeconds: number): void;
  /** From now on the statements of this connection may take that long. */
  allow(client: pg.ClientBase, answerSeconds: number): void;
  /** From now on no statement may take longer. */
  allowAll(answerSeconds: number): void;
  /** @returns what destroys all connections of this moment that have received nothing since then */
  mark(): () => void;
  /** Calls back when so many ticks have passed. @returns what takes it back */
  after(seconds: number, callback: () => void): () => void;
  destroyAll(): void;
  close(): void;
}

interface Watched {
  readonly client: pg.ClientBase;
  answerTicks: number;
  /** since its oldest statement that is not answered; undefined: all are */
  waitedTicks: number | undefined;
}

/** Of `pg`: the socket of a connection. */
interface WithSocket {
  readonly connection: { readonly stream: { readonly bytesRead: number; destroy(error: Error): void } };
}

export function createConnectionWatch(): ConnectionWatch {
  const watched = new Map<pg.ClientBase, Watched>();
  let mostTicks = Number.POSITIVE_INFINITY;
  const alarms = new Set<{ ticks: number; readonly callback: () => void }>();
  const timer = setInterval(() => {
    for (const each of watched.values()) tick(each, mostTicks);
    for (const alarm of alarms) {
      if (--alarm.ticks > 0) continue;
      alarms.delete(alarm);
      alarm.callback();
    }
  }, TICK_MS).unref();
  return {
    add(client, answerSeconds) {
      const each: Watched = { client, answerTicks: toTicks(answerSeconds), waitedTicks: undefined };
      watched.set(client, each);
      client.once('end', () => watched.delete(client));
      // When the last statement that was sent has been answered.
      client.on('drain', () => {
        each.waitedTicks = undefined;
      });
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      client.query = ((...args: unknown[]) => {
        each.waitedTicks ??= 0;
        return query(...args);
      }) as typeof client.query;
    },
    allow(client, answerSeconds) {
      const each = watched.get(client);
      if (each !== undefined) each.answerTicks = toTicks(answerSeconds);
    },
    allowAll(answerSeconds) {
      mostTicks = toTicks(answerSeconds);
    },
    mark() {
      const marks = [...watched.keys()].map((client) => ({ client, bytesRead: socketOf(client).bytesRead }));
      return () => {
        for (const { client, bytesRead } of marks) if (socketOf(client).bytesRead === bytesRead) destroy(client);
      };
    },
    after(seconds, callback) {
      const alarm = { ticks: toTicks(seconds), callback };
      alarms.add(alarm);
      return () => void alarms.delete(alarm);
    },
    destroyAll: () => [...watched.keys()].forEach(destroy),
    close: () => clearInterval(timer),
  };
}

function tick(each: Watched, mostTicks: number): void {
  if (each.waitedTicks === undefined) return;
  each.waitedTicks++;
  if (each.waitedTicks > Math.min(each.answerTicks, mostTicks)) destroy(each.client);
}

function toTicks(seconds: number): number {
  return Math.ceil((seconds * 1000) / TICK_MS);
}

/** `end()` alone would wait for an answer from a peer that may be gone. */
export function destroy(client: pg.ClientBase): void {
  socketOf(client).destroy(new Error('the database has not answered'));
}

function socketOf(client: pg.ClientBase) {
  return (client as unknown as WithSocket).connection.stream;
}
