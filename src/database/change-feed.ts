// One connection of every process that listens for the notifications of changes (migration 0002), so
// that it follows them before a request asks (change-log). Nothing depends on it: a notification that
// is missed, or that a pooler does not deliver, makes the next request read a little more.
//
// It also finds out when the network has cut connections without a word (a cable, a firewall): it is
// asked every second, and must answer within the next. What has cut this connection has cut others:
// those that stay silent too are destroyed (connection-watch).

import pg from 'pg';
import type { Log } from '../log.ts';
import { sessionSettings } from './connection.ts';
import { type ConnectionWatch, destroy } from './connection-watch.ts';

const CHANNEL = 'lanyard_change';
const RECONNECT_MS = 250;
const HEARTBEAT_MS = 1_000;
const ANSWER_SECONDS = 1;
/** After that, no answer will come. A database that was only slow must not lose its connections. */
const SILENCE_SECONDS = 3;
const CONNECT_TIMEOUT_MS = 3_000;
/** For the statements with which it begins. */
const START_SECONDS = 3;
/** How long PostgreSQL may take to close the connection. */
const CLOSE_TIMEOUT_MS = 500;

export interface ChangeFeed {
  /** whether notifications are received */
  isLive(): boolean;
  /** notifications received so far */
  heard(): number;
  close(): Promise<void>;
}

export interface ChangeFeedOptions {
  readonly connectionString: string;
  readonly log: Log;
  readonly watch: ConnectionWatch;
  /** Called at each notification, and every second, since some may not arrive. */
  readonly onNotice: () => void;
}

interface Feed {
  readonly options: ChangeFeedOptions;
  connection: pg.Client | undefined;
  isLive: boolean;
  isClosed: boolean;
  heard: number;
  /** since it was last live */
  hasWarned: boolean;
  retry?: NodeJS.Timeout;
  heartbeat?: NodeJS.Timeout;
}

export function startChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  const feed: Feed = {
    options,
    connection: undefined,
    isLive: false,
    isClosed: false,
    heard: 0,
    hasWarned: false,
  };
  feed.heartbeat = setInterval(() => void beat(feed), HEARTBEAT_MS).unref();
  void connect(feed);
  return {
    isLive: () => feed.isLive,
    heard: () => feed.heard,
    close: () => close(feed),
  };
}

async function connect(feed: Feed): Promise<void> {
  const { connectionString, watch, onNotice } = feed.options;
  const client = new pg.Client({
    connectionString,
    application_name: 'lanyard-changes',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  });
  feed.connection = client;
  watch.add(client, START_SECONDS);
  client.on('notification', () => {
    feed.heard++;
    onNotice();
  });
  client.on('error', (error) => lose(feed, client, error));
  client.on('end', () => lose(feed, client));
  try {
    await client.connect();
    await client.query(`${sessionSettings()}; LISTEN ${CHANNEL}`);
  } catch (error) {
    lose(feed, client, error);
    return;
  }
  if (feed.connection !== client) return;
  feed.isLive = true;
  feed.hasWarned = false;
  onNotice();
}

function lose(feed: Feed, client: pg.Client, error?: unknown): void {
  if (feed.connection !== client) return;
  feed.connection = undefined;
  if (feed.isLive || !feed.hasWarned)
    feed.options.log.warn({ error }, 'the connection for change notifications is lost');
  feed.hasWarned = true;
  feed.isLive = false;
  destroy(client);
  if (!feed.isClosed) feed.retry = setTimeout(() => void connect(feed), RECONNECT_MS).unref();
}

async function beat(feed: Feed): Promise<void> {
  const { watch, onNotice } = feed.options;
  const { connection, isLive } = feed;
  onNotice();
  if (connection === undefined || !isLive) return;
  const destroySilent = watch.mark();
  const answered = watch.after(ANSWER_SECONDS, () => {
    lose(feed, connection, new Error('no answer'));
    watch.after(SILENCE_SECONDS - ANSWER_SECONDS, destroySilent);
  });
  await connection.query('SELECT 1').catch((error: unknown) => lose(feed, connection, error));
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
