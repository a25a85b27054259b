// What other nodes change. Triggers (migration 0002) announce every committed change of a configuration row on one channel as
// `<topic>:<key>`; one connection of every node listens. Whoever keeps such rows in memory asks `isLive` first: while nobody
// listens, memory proves nothing.
//
// A connection that ends says so at once. One that is cut without a word (a cable, a firewall) is noticed by a question that is
// asked every second and must be answered within the next.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { Log } from '../log.ts';

export const CHANNEL = 'lanyard_change';
/** A topic that nobody subscribes to. */
const ECHO = 'echo';
/** In the place of a key: all of them. */
const EVERY_KEY = '*';
const RECONNECT_MS = 250;
/** How long a cut connection may stay unnoticed: one interval to ask, one to wait for the answer. */
const HEARTBEAT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** How long PostgreSQL may take to say goodbye. */
const CLOSE_TIMEOUT_MS = 500;

/** A row has changed; `key` undefined: any row may have. */
export type ChangeListener = (key: string | undefined) => void;

export interface ChangeFeed {
  /** whether every committed change is heard */
  isLive(): boolean;
  /** Calls `listener` at every change of a topic, and whenever changes may have been missed. */
  subscribe(topic: string, listener: ChangeListener): void;
  /** Resolves when this node has heard of everything that was committed before the call. */
  settled(): Promise<void>;
  /** notifications heard so far */
  heard(): number;
  close(): Promise<void>;
}

export interface ChangeFeedOptions {
  readonly connectionString: string;
  readonly log: Log;
  /** Announces something from another connection: the feed counts as live when it has heard that. */
  readonly announce?: (payload: string) => Promise<unknown>;
}

export function startChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  const { log } = options;
  const listeners = new Map<string, ChangeListener[]>();
  let connection: pg.Client | undefined;
  let isLive = false;
  let isClosed = false;
  let heard = 0;
  let hasComplained = false;
  let retry: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;

  function announce(payload: string): void {
    if (payload.startsWith(`${ECHO}:`)) return;
    heard++;
    const colon = payload.indexOf(':');
    const key = payload.slice(colon + 1);
    for (const listener of listeners.get(payload.slice(0, colon)) ?? []) listener(key === EVERY_KEY ? undefined : key);
  }

  function forgetEverything(): void {
    for (const listener of [...listeners.values()].flat()) listener(undefined);
  }

  function lost(client: pg.Client, error?: unknown): void {
    if (connection !== client) return;
    connection = undefined;
    clearInterval(heartbeat);
    if (isLive || !hasComplained) {
      log.warn({ error }, 'the change feed is down: every request reads the database until it is back');
    }
    hasComplained = true;
    isLive = false;
    forgetEverything();
    cut(client);
    if (!isClosed) retry = setTimeout(() => void connect(), RECONNECT_MS).unref();
  }

  async function connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: options.connectionString,
      application_name: 'lanyard-changes',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
    });
    connection = client;
    client.on('notification', ({ payload }) => announce(payload ?? ''));
    client.on('error', (error) => lost(client, error));
    client.on('end', () => lost(client));
    try {
      await client.connect();
      await client.query(`LISTEN ${CHANNEL}`);
      await proveHearing(client);
    } catch (error) {
      lost(client, error);
      return;
    }
    if (connection !== client) return;
    // Whatever was remembered while nobody listened is suspect.
    forgetEverything();
    isLive = true;
    hasComplained = false;
    heartbeat = setInterval(() => void beat(client), HEARTBEAT_MS).unref();
  }

  /**
   * A pooler that lends its connections to one transaction after the other accepts LISTEN, and delivers nothing. Without this
   * proof caches would be trusted that nobody corrects.
   */
  async function proveHearing(client: pg.Client): Promise<void> {
    if (options.announce === undefined) return;
    const echo = `${ECHO}:${randomUUID()}`;
    let deadline: NodeJS.Timeout | undefined;
    const isHeard = new Promise<boolean>((resolve) => {
      deadline = setTimeout(() => resolve(false), HEARTBEAT_MS);
      client.on('notification', ({ payload }) => payload === echo && resolve(true));
      client.once('end', () => resolve(false));
    });
    await options.announce(echo);
    const wasHeard = await isHeard;
    clearTimeout(deadline);
    if (!wasHeard) throw new Error('notifications do not arrive: is there a pooler in transaction mode in between?');
  }

  /** One question after the other; each is sent after it was asked for. */
  let lastQuestion: Promise<void> = Promise.resolve();
  function ask(client: pg.Client): Promise<void> {
    lastQuestion = lastQuestion
      .then(() => client.query('SELECT 1'))
      .then(
        () => {},
        (error: unknown) => lost(client, error),
      );
    return lastQuestion;
  }

  async function beat(client: pg.Client): Promise<void> {
    const deadline = setTimeout(() => lost(client, new Error('no answer')), HEARTBEAT_MS);
    await ask(client);
    clearTimeout(deadline);
  }

  void connect();
  return {
    isLive: () => isLive,
    subscribe(topic, listener) {
      listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
    },
    async settled() {
      // PostgreSQL hands a session its notifications before it says that it is ready for the next statement.
      if (isLive && connection !== undefined) await ask(connection);
    },
    heard: () => heard,
    async close() {
      isClosed = true;
      clearTimeout(retry);
      clearInterval(heartbeat);
      const client = connection;
      connection = undefined;
      isLive = false;
      if (client === undefined) return;
      const deadline = setTimeout(() => cut(client), CLOSE_TIMEOUT_MS);
      await client.end().catch(() => {});
      clearTimeout(deadline);
    },
  };
}

/** `end()` alone would wait for an answer from a peer that may be gone. */
function cut(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
