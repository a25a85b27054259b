// The feed without its connection: memory is not used while changes may be missed.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Cache, createCache } from '../../src/database/cache.ts';
import { type ChangeFeed, startChangeFeed } from '../../src/database/change-feed.ts';
import { createConnectionWatch } from '../../src/database/connection-watch.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { killNamed } from '../support/hold.ts';
import { until } from '../support/patience.ts';
import { type CuttableProxy, startProxy } from '../support/proxy.ts';

const LISTENER = 'lanyard-changes';
/** in the log when a cut was noticed by the question that nothing answered */
const HEARTBEAT_FAILED = 'no answer';

const lines: string[] = [];
const log = createLog('warn', { write: (line: string) => void lines.push(line) });

const watch = createConnectionWatch();

let testDatabase: TestDatabase;
let sql: pg.Pool;
let proxy: CuttableProxy;
let feed: ChangeFeed;
let asked: string[];
let cache: Cache<{ username: string }>;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  sql = new pg.Pool({ connectionString: testDatabase.connectionString, max: 2 });
  await sql.query(`INSERT INTO users (id, username, password_hash) VALUES ('alice', 'alice', 'none')`);
});
afterAll(async () => {
  await sql.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  proxy = await startProxy(testDatabase.connectionString);
  feed = startChangeFeed({ connectionString: proxy.connectionString, log, watch });
  asked = [];
  lines.length = 0;
  cache = createCache({
    changes: feed,
    topic: 'user',
    max: 10,
    onRequest: (result) => asked.push(result),
    load: async (id) => (await sql.query('SELECT username FROM users WHERE id = $1', [id])).rows[0],
  });
  await rename('alice');
  await until(feed.isLive, 'a live feed');
});
afterEach(async () => {
  await feed.close();
  await proxy.stop();
});

const rename = (username: string) => sql.query('UPDATE users SET username = $1', [username]);
const alice = async () => (await cache.get('alice'))?.username;

async function remember(): Promise<void> {
  await alice();
  await alice();
  expect(asked.splice(0)).toEqual(['miss', 'hit']);
}

describe('a listener whose connection is ended', () => {
  test('is not live, memory is not asked, and what changed meanwhile is seen then and afterwards', async () => {
    await remember();
    await killNamed(sql, LISTENER);
    await until(() => !feed.isLive(), 'the end noticed');
    expect(lines.join('')).not.toContain(HEARTBEAT_FAILED);
    await rename('changed while disconnected');
    expect(await alice()).toBe('changed while disconnected');
    expect(asked.splice(0)).toEqual(['bypass']);
    await until(feed.isLive, 'a live feed');
    expect(await alice()).toBe('changed while disconnected');
    expect(asked.splice(0)).toEqual(['miss']);
    await rename('again');
    await feed.settled();
    expect(await alice()).toBe('again');
  });

  test('twenty times over, remembers nothing that was changed in between', async () => {
    for (let round = 0; round < 20; round++) {
      await until(feed.isLive, 'a live feed');
      await alice();
      await Promise.all([killNamed(sql, LISTENER), rename(`name ${round}`)]);
      await until(() => !feed.isLive(), 'the end noticed');
      expect(await alice()).toBe(`name ${round}`);
    }
  });
});

describe('a connection that is cut without a word', () => {
  test('is noticed by a heartbeat; from then on nothing is taken from memory, and the feed comes back', async () => {
    await remember();
    proxy.cut();
    await rename('not announced');
    await until(() => !feed.isLive(), 'the cut noticed');
    expect(lines.join('')).toContain(HEARTBEAT_FAILED);
    expect(await alice()).toBe('not announced');
    expect(asked.splice(0)).toEqual(['bypass']);
    proxy.mend();
    await until(feed.isLive, 'a live feed');
    expect(await alice()).toBe('not announced');
    await rename('announced');
    await feed.settled();
    expect(await alice()).toBe('announced');
  });

  test('does not hold settled() for longer than the heartbeat; after it memory is not asked', async () => {
    await remember();
    proxy.cut();
    await rename('not announced');
    await feed.settled();
    expect(await alice()).toBe('not announced');
  });
});

describe('close() ends', () => {
  test.each<[string, () => unknown]>([
    ['while it listens', () => {}],
    ['when the connection was cut without a word', () => proxy.cut()],
    [
      'while it waits to connect again',
      async () => {
        await killNamed(sql, LISTENER);
        await until(() => !feed.isLive(), 'the end noticed');
      },
    ],
    [
      'while it connects again to a database that says nothing',
      async () => {
        proxy.cut();
        await until(() => !feed.isLive(), 'the cut noticed');
        const attempts = proxy.accepted();
        await until(() => proxy.accepted() > attempts, 'the next attempt');
      },
    ],
  ])('%s', async (_name, prepare) => {
    await prepare();
    await feed.close();
    expect(feed.isLive()).toBe(false);
  });

  test.each<[string, (proxy: CuttableProxy) => void]>([
    ['at once after its start', () => {}],
    ['when the database has never said a word', (silent) => silent.cut()],
  ])('%s, and no connection listens afterwards', async (_name, prepare) => {
    const silent = await startProxy(testDatabase.connectionString);
    prepare(silent);
    const young = startChangeFeed({ connectionString: silent.connectionString, log, watch });
    await young.close();
    await feed.close();
    await until(async () => {
      const text = 'SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1';
      return (await sql.query(text, [LISTENER])).rowCount === 0;
    }, 'no listener left');
    await silent.stop();
  });
});
