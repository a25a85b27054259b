// What other nodes change. Triggers (migration 0002) announce every committed change of a
// configuration row on one channel as `<topic>:<key>`; one connection of every node listens. A part
// that keeps such rows in memory asks `isLive` first: while nothing is received, memory may be
// stale.
//
// A connection that ends is noticed at once. One that is cut without a word (a cable, a firewall)
// is noticed by a statement that is sent every second and must be answered within the next. What has
// cut this connection has cut others: those that stay silent too are destroyed (connection-watch).

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { Log } from '../log.ts';
import { type ConnectionWatch, destroy } from './connection-watch.ts';

export const CHANNEL = 'lanyard_change';
/** A topic without listeners. */
const ECHO = 'echo';
/** In the place of a key: all of them. */
const EVERY_KEY = '*';
const RECONNECT_MS = 250;
const HEARTBEAT_MS = 1_000;
/** After that, changes may be missed. */
const ANSWER_SECONDS = 1;
/** After that, no answer will come. A database that was only slow must not lose its connections. */
const SILENCE_SECONDS = 3;
const CONNECT_TIMEOUT_MS = 3_000;
/** For the statements with which it begins. */
const START_SECONDS = 3;
/** How long PostgreSQL may take to close the connection. */
const CLOSE_TIMEOUT_MS = 500;

/** A row has changed; `key` undefined: any row may have. */
export type ChangeListener = (key: string | undefined) => void;

export interface ChangeFeed {
  /** whether every committed change is received */
  isLive(): boolean;
  /** Calls `listener` at every change of a topic, and whenever changes may have been missed. */
  subscribe(topic: string, listener: ChangeListener): void;
  /** Resolves when this node has received everything that was committed before the call. */
  settled(): Promise<void>;
  /** notifications received so far */
  heard(): number;
  close(): Promise<void>;
}

export interface ChangeFeedOptions {
  readonly connectionString: string;
  readonly log: Log;
  readonly watch: ConnectionWatch;
  /** Announces from another connection: the feed counts as live when it has received that. */
  readonly announce?: (payload: string) => Promise<unknown>;
}

interface Feed {
  readonly options: ChangeFeedOptions;
  readonly listeners: Map<string, ChangeListener[]>;
  connection: pg.Client | undefined;
  isLive: boolean;
  isClosed: boolean;
  received: number;
  /** since it was last live */
  hasWarned: boolean;
  /**
   * Statements are sent one after the other; each caller waits for one that was sent after its
   * call.
   */
  lastStatement: Promise<void>;
  retry?: NodeJS.Timeout;
  heartbeat?: NodeJS.Timeout;
}

export function startChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  const feed: Feed = {
    options,
    listeners: new Map(),
    connection: undefined,
    isLive: false,
    isClosed: false,
    received: 0,
    hasWarned: false,
    lastStatement: Promise.resolve(),
  };
  void connect(feed);
  return {
    isLive: () => feed.isLive,
    subscribe(topic, listener) {
      feed.listeners.set(topic, [...(feed.listeners.get(topic) ?? []), listener]);
    },
    async settled() {
      // PostgreSQL sends a session its notifications before it says that it is ready for the next
      // statement.
      if (feed.isLive && feed.connection !== undefined) await ask(feed, feed.connection);
    },
    heard: () => feed.received,
    close: () => close(feed),
  };
}

async function connect(feed: Feed): Promise<void> {
  const client = new pg.Client({
    connectionString: feed.options.connectionString,
    application_name: 'lanyard-changes',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  });
  feed.connection = client;
  feed.options.watch.add(client, START_SECONDS);
  client.on('notification', ({ payload }) => receive(feed, payload ?? ''));
  client.on('error', (error) => lose(feed, client, error));
  client.on('end', () => lose(feed, client));
  try {
    await client.connect();
    await client.query(`LISTEN ${CHANNEL}`);
    await proveDelivery(feed, client);
  } catch (error) {
    lose(feed, client, error);
    return;
  }
  if (feed.connection !== client) return;
  // Whatever was remembered before may have changed unnoticed.
  invalidateAll(feed);
  feed.isLive = true;
  feed.hasWarned = false;
  feed.heartbeat = setInterval(() => void beat(feed, client), HEARTBEAT_MS).unref();
}

/**
 * A pooler in transaction mode accepts LISTEN and delivers nothing. Without this check caches would be used that are never
 * invalidated.
 */
async function proveDelivery({ options: { announce } }: Feed, client: pg.Client): Promise<void> {
  if (announce === undefined) return;
  const echo = `${ECHO}:${randomUUID()}`;
  let deadline: NodeJS.Timeout | undefined;
  const delivery = new Promise<boolean>((resolve) => {
    deadline = setTimeout(() => resolve(false), HEARTBEAT_MS);
    client.on('notification', ({ payload }) => payload === echo && resolve(true));
    client.once('end', () => resolve(false));
  });
  await announce(echo);
  const isDelivered = await delivery;
  clearTimeout(deadline);
  if (!isDelivered) throw new Error('notifications do not arrive: is there a pooler in transaction mode in between?');
}

function receive(feed: Feed, payload: string): void {
  if (payload.startsWith(`${ECHO}:`)) return;
  feed.received++;
  const colon = payload.indexOf(':');
  const key = payload.slice(colon + 1);
  for (const listener of feed.listeners.get(payload.slice(0, colon)) ?? []) {
    listener(key === EVERY_KEY ? undefined : key);
  }
}

function invalidateAll({ listeners }: Feed): void {
  for (const listener of [...listeners.values()].flat()) listener(undefined);
}

function lose(feed: Feed, client: pg.Client, error?: unknown): void {
  if (feed.connection !== client) return;
  feed.connection = undefined;
  clearInterval(feed.heartbeat);
  if (feed.isLive || !feed.hasWarned) {
    feed.options.log.warn({ error }, 'the change feed is down: every request reads the database until it is back');
  }
  feed.hasWarned = true;
  feed.isLive = false;
  invalidateAll(feed);
  destroy(client);
  if (!feed.isClosed) feed.retry = setTimeout(() => void connect(feed), RECONNECT_MS).unref();
}

function ask(feed: Feed, client: pg.Client): Promise<void> {
  feed.lastStatement = feed.lastStatement
    .then(() => client.query('SELECT 1'))
    .then(
      () => {},
      (error: unknown) => lose(feed, client, error),
    );
  return feed.lastStatement;
}

async function beat(feed: Feed, client: pg.Client): Promise<void> {
  const { watch } = feed.options;
  const destroySilent = watch.mark();
  const answered = watch.after(ANSWER_SECONDS, () => {
    lose(feed, client, new Error('no answer'));
    watch.after(SILENCE_SECONDS - ANSWER_SECONDS, destroySilent);
  });
  await ask(feed, client);
  answered();
}

async function close(feed: Feed): Promise<void> {
  feed.isClosed = true;
  clearTimeout(feed.retry);
  clearInterval(feed.heartbeat);
  const client = feed.connection;
  feed.connection = undefined;
  feed.isLive = false;
  if (client === undefined) return;
  const deadline = setTimeout(() => destroy(client), CLOSE_TIMEOUT_MS);
  await client.end().catch(() => {});
  clearTimeout(deadline);
}
