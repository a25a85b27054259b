// The connection that listens for changes: ended, cut without a word, closed.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
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
let notices: number;

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
  notices = 0;
  lines.length = 0;
  feed = startChangeFeed({ connectionString: proxy.connectionString, log, watch, onNotice });
  await until(feed.isLive, 'a live feed');
});
afterEach(async () => {
  await feed.close();
  await proxy.stop();
});

const onNotice = () => void notices++;
const rename = (username: string) => sql.query('UPDATE users SET username = $1', [username]);

test('notices each change at once', async () => {
  const before = notices;
  const heard = feed.heard();
  await rename('changed');
  await until(() => feed.heard() > heard && notices > before, 'the notice');
});

test('a connection that is ended is opened again, and notices what may have been missed', async () => {
  await killNamed(sql, LISTENER);
  await until(() => !feed.isLive(), 'the end noticed');
  expect(lines.join('')).not.toContain(HEARTBEAT_FAILED);
  const before = notices;
  await until(feed.isLive, 'a live feed');
  expect(notices).toBeGreaterThan(before);
});

test('a connection that is cut without a word is found by a heartbeat, and opened again', async () => {
  proxy.cut();
  await until(() => !feed.isLive(), 'the cut noticed');
  expect(lines.join('')).toContain(HEARTBEAT_FAILED);
  proxy.mend();
  await until(feed.isLive, 'a live feed');
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
    const young = startChangeFeed({ connectionString: silent.connectionString, log, watch, onNotice });
    await young.close();
    await feed.close();
    await until(async () => {
      const text = 'SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1';
      return (await sql.query(text, [LISTENER])).rowCount === 0;
    }, 'no listener left');
    await silent.stop();
  });
});
