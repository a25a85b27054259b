// The log of changes: every committed change of a row that is kept in memory, nothing else, known
// to each process that asks after the commit. Nothing here listens: notifications are not needed.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type ChangeLog, createChangeLog } from '../../src/database/change-log.ts';
import type { Query } from '../../src/database/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const TOPICS = ['client', 'client_grants', 'resource_server', 'user', 'signing_key'];

let testDatabase: TestDatabase;
let log: ChangeLog;
let sql: pg.Pool;
const heard: string[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  sql = new pg.Pool({ connectionString, max: 2 });
  log = listening(heard);
});
afterAll(async () => {
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
  await log.current();
  heard.length = 0;
});

const query: Query = async (statement, values) => {
  const { rows, rowCount } = await sql.query({ ...statement, values: [...values] });
  return { rows, rowCount: rowCount ?? 0 };
};

/** A process of its own, which notes what it is told. */
function listening(noted: string[]): ChangeLog {
  const created = createChangeLog({ query, queueSize: 1_000 });
  for (const topic of TOPICS) created.subscribe(topic, (key) => void noted.push(`${topic}:${key ?? 'all of them'}`));
  return created;
}

async function heardOf(statement: string): Promise<string[]> {
  await sql.query(statement);
  await log.current();
  return [...new Set(heard)].sort();
}

describe('a committed change is heard, by topic and key:', () => {
  test.each([
    [
      `INSERT INTO clients (client_id, metadata) VALUES ('new', '{"backchannel_logout_uri":"https://app.example"}')`,
      ['client:new'],
    ],
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
    [`UPDATE users SET disabled_at = now()`, ['user:alice']],
    [`DELETE FROM users`, ['user:alice']],
    [`UPDATE users SET id = '*x:ü ''"'`, [`user:*x:ü '"`, 'user:alice']],
    ['TRUNCATE users CASCADE', ['user:all of them']],
    ['TRUNCATE client_secrets', ['client:all of them']],
    ['TRUNCATE client_grants', ['client_grants:all of them']],
    ['TRUNCATE resource_servers CASCADE', ['client_grants:all of them', 'resource_server:all of them']],
  ])('%s', async (statement, expected) => {
    expect(await heardOf(statement)).toEqual(expected);
  });

  test('of more than a thousand keys, or of one that is too long for an index: all of them', async () => {
    await sql.query(
      `INSERT INTO users (id, username, password_hash) SELECT n, n, 'none' FROM generate_series(1, 1200) n`,
    );
    expect(await heardOf(`UPDATE users SET version = version + 1`)).toContain('user:all of them');
    expect(new Set(heard).size).toBe(1_001);
    heard.length = 0;
    const long = `'https://' || (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 70) n) || '.example'`;
    expect(await heardOf(`INSERT INTO resource_servers (identifier, scopes) VALUES (${long}, '{}')`)).toEqual([
      'resource_server:all of them',
    ]);
  });
});

test.each([
  ['a client', `INSERT INTO clients (client_id, metadata) VALUES ('new', '{}')`],
  ['a user', `INSERT INTO users (id, username, password_hash) VALUES ('bob', 'bob', 'none')`],
])('%s that is created is no change: nobody remembers that it was not there', async (_name, statement) => {
  expect(await heardOf(statement)).toEqual([]);
});

test('a use of a secret is not a change: it would empty the memory of every node all the time', async () => {
  expect(await heardOf('UPDATE client_secrets SET last_used_at = now()')).toEqual([]);
});

test('what is rolled back is not heard, and what is committed not before the commit', async () => {
  const session = await sql.connect();
  await session.query(`BEGIN; UPDATE users SET disabled_at = now()`);
  await log.current();
  expect(heard).toEqual([]);
  await session.query('ROLLBACK');
  await log.current();
  expect(heard).toEqual([]);
  await session.query(`BEGIN; UPDATE users SET disabled_at = now()`);
  await session.query('COMMIT');
  session.release();
  await log.current();
  expect(heard).toEqual(['user:alice']);
});

describe('what was acknowledged is known to a request that comes after it', () => {
  test('with 16 writers in transactions of several tables, and no deadlock', async () => {
    const writers = new pg.Pool({ connectionString: testDatabase.connectionString, max: 16 });
    const versions = new Map<string, number>();
    const reader = createChangeLog({ query, queueSize: 1_000 });
    reader.subscribe('user', (key) => void dropped.push(key));
    const dropped: (string | undefined)[] = [];
    await sql.query(
      `INSERT INTO users (id, username, password_hash) SELECT n, n, 'none' FROM generate_series(1, 16) n`,
    );
    await reader.current();
    const unseen: string[] = [];
    await Promise.all(
      Array.from({ length: 16 }, async (_, index) => {
        const id = String(index + 1);
        for (let round = 0; round < 40; round++) {
          await writers.query(
            `UPDATE ${round % 2 === 0 ? 'clients' : 'client_grants'} SET version = version + 1 WHERE client_id = 'app';
             UPDATE users SET version = version + 1 WHERE id = '${id}'`,
          );
          versions.set(id, round);
          const before = dropped.length;
          await reader.current();
          if (!dropped.slice(Math.max(0, before - 16 * 16)).includes(id)) unseen.push(`${id} in round ${round}`);
        }
      }),
    );
    await writers.end();
    expect(unseen).toEqual([]);
  });

  test('a listener that fails makes the request fail, and is asked again by the next one', async () => {
    const failing = createChangeLog({ query, queueSize: 10 });
    let isBroken = false;
    let calls = 0;
    failing.subscribe('user', async () => {
      calls++;
      if (isBroken) throw new Error('the keys cannot be read');
    });
    await failing.current();
    await sql.query('UPDATE users SET version = version + 1');
    isBroken = true;
    await expect(failing.current()).rejects.toThrow('the keys cannot be read');
    await expect(failing.current()).rejects.toThrow('the keys cannot be read');
    isBroken = false;
    const before = calls;
    await failing.current();
    await failing.current();
    expect(calls).toBe(before + 1);
  });
});

describe('a log that does not lead on from what a process knows', () => {
  const ALL = TOPICS.map((topic) => `${topic}:all of them`).sort();

  test.each([
    [
      'was pruned',
      `UPDATE users SET version = version + 1; UPDATE users SET version = version + 1; DELETE FROM change_log`,
    ],
    [
      'is that of a standby that was promoted too early, with as many revisions',
      `UPDATE change_revision SET value = gen_random_uuid(); UPDATE change_log SET value = gen_random_uuid()`,
    ],
    [
      'is longer than is worth reading',
      `UPDATE users SET version = version + 1;
       INSERT INTO change_log (revision, value, topic, key)
       SELECT revision, value, 'user', n::text FROM change_revision, generate_series(1, 10000) n`,
    ],
    ['is that of an older standby', `UPDATE change_revision SET revision = revision - 1, value = gen_random_uuid()`],
  ])('drops everything from memory: one that %s', async (_name, statement) => {
    await sql.query(`UPDATE users SET version = version + 1`);
    await log.current();
    heard.length = 0;
    expect(await heardOf(statement)).toEqual(ALL);
  });

  test('a process that has just started drops what it has read before', async () => {
    const noted: string[] = [];
    await listening(noted).current();
    expect(noted.sort()).toEqual(ALL);
  });
});

test('one statement serves all that came before it was sent', async () => {
  let statements = 0;
  const counting: Query = (statement, values) => {
    statements++;
    return query(statement, values);
  };
  const counted = createChangeLog({ query: counting, queueSize: 1_000 });
  await Promise.all(Array.from({ length: 200 }, () => counted.current()));
  expect(statements).toBe(1);
});
