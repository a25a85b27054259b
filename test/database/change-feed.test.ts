// What the feed receives: every committed change of a configuration row, nothing else, and at once.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type ChangeFeed, startChangeFeed } from '../../src/database/change-feed.ts';
import { createConnectionWatch } from '../../src/database/connection-watch.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/patience.ts';

const TOPICS = ['client', 'client_grants', 'resource_server', 'user'];

let testDatabase: TestDatabase;
let feed: ChangeFeed;
let sql: pg.Pool;
const heard: string[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  sql = new pg.Pool({ connectionString, max: 2 });
  feed = startChangeFeed({ connectionString, log: createLog('silent'), watch: createConnectionWatch() });
  for (const topic of TOPICS) feed.subscribe(topic, (key) => heard.push(`${topic}:${key ?? 'all of them'}`));
  await until(feed.isLive, 'a live feed');
});
afterAll(async () => {
  await feed.close();
  await sql.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  await sql.query('TRUNCATE clients, client_secrets, client_grants, resource_servers, users CASCADE');
  await sql.query(`
    INSERT INTO clients (client_id, metadata) VALUES ('app', '{}'), ('other', '{}');
    INSERT INTO client_secrets (id, client_id, hash) VALUES ('secret', 'app', 'none');
    INSERT INTO resource_servers (identifier, scopes) VALUES ('https://api.example', '{}');
    INSERT INTO client_grants (client_id, resource_server, scopes) VALUES ('app', 'https://api.example', '{}');
    INSERT INTO users (id, username, password_hash) VALUES ('alice', 'alice', 'none')`);
  await feed.settled();
  heard.length = 0;
});

async function heardOf(statement: string): Promise<string[]> {
  await sql.query(statement);
  await feed.settled();
  return [...new Set(heard)].sort();
}

describe('a committed change is heard, by topic and key:', () => {
  test.each([
    [`INSERT INTO clients (client_id, metadata) VALUES ('new', '{}')`, ['client:new']],
    [`UPDATE clients SET disabled_at = now() WHERE client_id = 'app'`, ['client:app']],
    [`UPDATE clients SET tokens_not_before = now() WHERE client_id = 'app'`, ['client:app']],
    [`DELETE FROM clients WHERE client_id = 'other'`, ['client:other']],
    [`UPDATE clients SET client_id = 'renamed' WHERE client_id = 'other'`, ['client:other', 'client:renamed']],
    [`UPDATE clients SET name = 'both'`, ['client:app', 'client:other']],
    [`INSERT INTO client_secrets (id, client_id, hash) VALUES ('second', 'other', 'none')`, ['client:other']],
    [`UPDATE client_secrets SET expires_at = now()`, ['client:app']],
    [`UPDATE client_secrets SET hash = 'another'`, ['client:app']],
    [`UPDATE client_secrets SET client_id = 'other'`, ['client:app', 'client:other']],
    [`DELETE FROM client_secrets`, ['client:app']],
    [
      `INSERT INTO client_grants (client_id, resource_server, scopes) VALUES ('other', 'https://api.example', '{}')`,
      ['client_grants:other'],
    ],
    [`UPDATE client_grants SET scopes = '{read}'`, ['client_grants:app']],
    [`DELETE FROM client_grants`, ['client_grants:app']],
    [
      `INSERT INTO resource_servers (identifier, scopes) VALUES ('https://b.example:8443/x?y', '{}')`,
      ['resource_server:https://b.example:8443/x?y'],
    ],
    [`UPDATE resource_servers SET scopes = '{read}'`, ['resource_server:https://api.example']],
    [`DELETE FROM resource_servers`, ['client_grants:app', 'resource_server:https://api.example']], // and what hangs on it
    [`INSERT INTO users (id, username, password_hash) VALUES ('bob', 'bob', 'none')`, ['user:bob']],
    [`UPDATE users SET disabled_at = now()`, ['user:alice']],
    [`DELETE FROM users`, ['user:alice']],
    [`INSERT INTO users (id, username, password_hash) VALUES ('*x:ü ''"', 'odd', 'none')`, [`user:*x:ü '"`]],
    ['TRUNCATE users CASCADE', ['user:all of them']],
    ['TRUNCATE client_secrets', ['client:all of them']],
    ['TRUNCATE client_grants', ['client_grants:all of them']],
    ['TRUNCATE resource_servers CASCADE', ['client_grants:all of them', 'resource_server:all of them']],
  ])('%s', async (statement, expected) => {
    expect(await heardOf(statement)).toEqual(expected);
  });

  test('of a key that no notification could carry: all of them', async () => {
    const statement = `INSERT INTO resource_servers (identifier, scopes)
      VALUES ('https://' || (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 60) n) || '.example', '{}')`;
    const [short] = await heardOf(statement);
    expect(short).toMatch(/^resource_server:https:/);
    heard.length = 0;
    // Longer than any index entry: only a column without an index could hold it, so the trigger is
    // asked directly.
    await sql.query(`
      CREATE TABLE huge (name text);
      CREATE TRIGGER huge_announce AFTER INSERT ON huge
        FOR EACH ROW EXECUTE FUNCTION lanyard_announce_change('user', 'name')`);
    expect(await heardOf(`INSERT INTO huge VALUES (repeat('x', 7001))`)).toEqual(['user:all of them']);
  });
});

test('a use of a secret is not a change: it would empty the memory of every node all the time', async () => {
  expect(await heardOf('UPDATE client_secrets SET last_used_at = now()')).toEqual([]);
});

test('what is rolled back is not heard, and what is committed not before the commit', async () => {
  const session = await sql.connect();
  await session.query(`BEGIN; UPDATE users SET disabled_at = now()`);
  await feed.settled();
  expect(heard).toEqual([]);
  await session.query('ROLLBACK');
  await feed.settled();
  expect(heard).toEqual([]);
  await session.query(`BEGIN; UPDATE users SET disabled_at = now()`);
  await session.query('COMMIT');
  session.release();
  await feed.settled();
  expect(heard).toEqual(['user:alice']);
});

test('settled: everything that was committed before it has been heard, 300 times out of 300', async () => {
  for (let round = 0; round < 300; round++) {
    heard.length = 0;
    await sql.query('UPDATE users SET version = version + 1');
    await feed.settled();
    expect(heard).toEqual(['user:alice']);
  }
});

test('counts what it hears', async () => {
  const before = feed.heard();
  await heardOf(`UPDATE clients SET name = 'both'`);
  expect(feed.heard() - before).toBe(2);
});
