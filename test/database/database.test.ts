// The pool: transactions that are whole or nothing, connections that die at the worst moment, and
// those that are kept.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createDatabase, type Database, type Query } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until, WAIT_MS } from '../support/patience.ts';

const INSERT = { name: 'test_insert', text: 'INSERT INTO kept VALUES ($1)' };
const COUNT = { name: 'test_count', text: 'SELECT count(*)::int AS count FROM kept' };
const PID = { name: 'test_pid', text: 'SELECT pg_backend_pid() AS pid' };

let testDatabase: TestDatabase;
let database: Database;
let other: pg.Pool;
const lines: string[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  database = createDatabase({ connectionString, poolSize: 2, queueSize: 100, log });
  other = new pg.Pool({ connectionString, max: 1 });
  await other.query('CREATE TABLE kept (id int PRIMARY KEY)');
});
afterAll(async () => {
  await database.close();
  await other.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  await other.query('TRUNCATE kept');
});

async function count(): Promise<number> {
  return (await other.query('SELECT count(*)::int AS count FROM kept')).rows[0].count;
}

async function killBackendOf(query: Query): Promise<void> {
  const { rows } = await query<{ pid: number }>(PID, []);
  await other.query('SELECT pg_terminate_backend($1, $2)', [rows[0]?.pid, WAIT_MS]);
}

describe('a transaction', () => {
  test('keeps all of it', async () => {
    const result = await database.transaction(async (query) => {
      await query(INSERT, [1]);
      expect(await count()).toBe(0);
      await query(INSERT, [2]);
      return 'result';
    });
    expect([result, await count()]).toEqual(['result', 2]);
  });

  test.each<[string, (query: Query) => Promise<unknown>]>([
    ['its work throws', () => Promise.reject(new Error('on purpose'))],
    ['a statement fails', (query) => query(INSERT, [1])],
    [
      'its connection is lost',
      async (query) => {
        await killBackendOf(query);
        await query(INSERT, [2]);
      },
    ],
    ['its connection is lost before it is committed', killBackendOf],
  ])('keeps nothing when %s, and its connection is not handed on broken', async (_name, fail) => {
    for (let round = 0; round < 3; round++) {
      const failed = database.transaction(async (query) => {
        await query(INSERT, [1]);
        await fail(query);
      });
      await expect(failed).rejects.toThrow();
    }
    expect(await count()).toBe(0);
    await database.transaction((query) => query(INSERT, [3]));
    expect((await database.query<{ count: number }>(COUNT, [])).rows).toEqual([{ count: 1 }]);
  });
});

test('a transaction whose work goes on after a failed statement is an error, not a commit', async () => {
  const committed = database.transaction(async (query) => {
    await query(INSERT, [1]);
    await query(INSERT, [1]).catch(() => {});
  });
  await expect(committed).rejects.toThrow('nothing was committed');
  expect(await count()).toBe(0);
  expect((await database.query<{ count: number }>(COUNT, [])).rows).toEqual([{ count: 0 }]);
});

// One caller's faulty values would make the server connect, and prepare all of its statements,
// again and again.
describe('after a statement has failed, its connection', () => {
  const backend = async () => (await database.batchQuery<{ pid: number }>(PID, [])).rows[0]?.pid;
  const FAIL = {
    name: 'test_fail',
    text: `DO $$ BEGIN RAISE EXCEPTION 'raised for the test' USING ERRCODE = '53100'; END $$`,
  };

  test('is used again where the values were at fault', async () => {
    const before = await backend();
    await database.batchQuery(INSERT, [1]);
    await expect(database.batchQuery(INSERT, [1])).rejects.toMatchObject({ code: '23505' });
    await expect(database.batchQuery(INSERT, ['one'])).rejects.toMatchObject({ code: '22P02' });
    expect(await backend()).toBe(before);
  });

  test('is thrown away where the database was', async () => {
    const before = await backend();
    await expect(database.batchQuery(FAIL, [])).rejects.toMatchObject({
      code: 'database_unavailable',
      cause: { code: '53100' },
    });
    expect(await backend()).not.toBe(before);
  });
});

test('a transaction whose result cannot be answered is not committed', async () => {
  const cyclic: { self?: object } = {};
  cyclic.self = cyclic;
  const tooDeep: unknown = JSON.parse('['.repeat(20_000) + ']'.repeat(20_000));
  for (const result of [cyclic, tooDeep, 1n]) {
    const failed = database.transaction(async (query) => {
      await query(INSERT, [1]);
      return result;
    });
    await expect(failed).rejects.toThrow();
  }
  expect(await count()).toBe(0);
});

test('an idle connection that is lost is logged, without the password, and replaced at the next use', async () => {
  await killBackendOf(database.query);
  await until(() => lines.join('').includes('an idle database connection was lost'));
  expect((await database.query<{ count: number }>(COUNT, [])).rows).toEqual([{ count: 0 }]);
  expect(lines.join('')).not.toContain(new URL(testDatabase.connectionString).password);
});
