// What waits while a statement runs goes out with the next one: on a real table, with real failures.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Batcher, type BatcherOptions, createBatcher } from '../../src/database/batcher.ts';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { AppError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { countBlocked, killBlocked, lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';

const INSERT = { name: 'test_gathered', text: 'INSERT INTO gathered SELECT * FROM unnest($1::text[]) RETURNING word' };

let testDatabase: TestDatabase;
let database: Database;
let sql: pg.Pool;
let sizes: number[];
let running: number;
let mostRunning: number;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 8, queueSize: 100, log: createLog('silent') });
  sql = new pg.Pool({ connectionString, max: 1 });
  await sql.query(`CREATE TABLE gathered (word text UNIQUE CHECK (word <> 'forbidden'))`);
});
afterAll(async () => {
  await database.close();
  await sql.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  await sql.query('TRUNCATE gathered');
  sizes = [];
  running = 0;
  mostRunning = 0;
});

/** Stores words, and tells each caller what it stored, in capitals. */
function createInserter(
  options: Partial<
    Pick<BatcherOptions<string, string>, 'maxWaiting' | 'maxBatch' | 'maxRunning' | 'isAlternating'>
  > = {},
) {
  return createBatcher<string, string>({
    maxWaiting: 1_000,
    ...options,
    onBatch: (size) => sizes.push(size),
    async run(words) {
      mostRunning = Math.max(mostRunning, ++running);
      try {
        const { rows } = await database.batchQuery<{ word: string }>(INSERT, [words]);
        return rows.map(({ word }) => word.toUpperCase());
      } finally {
        running--;
      }
    },
  });
}

const words = (count: number) => Array.from({ length: count }, (_, number) => `word ${number}`);

async function stored(): Promise<string[]> {
  return (await sql.query('SELECT word FROM gathered ORDER BY word')).rows.map(({ word }) => word);
}

function insertAll(insert: Batcher<string, string>, all: readonly string[]) {
  return Promise.allSettled(all.map((word) => insert(word)));
}

describe('a crowd', () => {
  test('of 200 callers shares a few statements, and each hears of its own item', async () => {
    const insert = createInserter();
    const answers = await Promise.all(words(200).map((word) => insert(word)));
    expect(answers).toEqual(words(200).map((word) => word.toUpperCase()));
    expect(await stored()).toEqual(words(200).sort());
    expect(sizes).toEqual([128, 72]);
  });

  test('that arrives while statements run goes out with the next one', async () => {
    const insert = createInserter({ maxRunning: 1 });
    const lock = await lockTable(testDatabase.connectionString, 'gathered');
    const first = insert('first');
    await until(async () => (await countBlocked(sql)) === 1);
    const others: Promise<string>[] = [];
    for (const word of words(50)) {
      others.push(insert(word));
      await new Promise((resolve) => setImmediate(resolve)); // each in a turn of its own
    }
    expect(insert.waiting()).toBe(50);
    await lock.release();
    expect(await Promise.all([first, ...others])).toHaveLength(51);
    expect(sizes).toEqual([1, 50]);
  });

  test('never has more statements or larger ones than it may', async () => {
    const insert = createInserter({ maxRunning: 3, maxBatch: 7 });
    await Promise.all(words(100).map((word) => insert(word)));
    expect(mostRunning).toBe(3);
    expect(Math.max(...sizes)).toBe(7);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(100);
    expect(await stored()).toHaveLength(100);
  });

  test('is halved where halves alternate: the second one is under way when the first one hears', async () => {
    const insert = createInserter({ maxRunning: 1, isAlternating: true });
    const seen: number[] = [];
    await Promise.all(words(20).map((word) => insert(word).then(() => seen.push(running))));
    expect(sizes).toEqual([10, 10]);
    expect(seen).toEqual([...Array(10).fill(1), ...Array(10).fill(0)]);
  });

  test('of two or three is not worth two statements', async () => {
    const insert = createInserter({ maxRunning: 1, isAlternating: true });
    for (const size of [1, 2, 3]) await Promise.all(words(size).map((word) => insert(`${size} ${word}`)));
    expect(sizes).toEqual([1, 2, 3]);
  });

  test('a lone caller goes out at once and alone', async () => {
    const insert = createInserter();
    expect(await insert('alone')).toBe('ALONE');
    expect(sizes).toEqual([1]);
  });
});

describe('an item that makes the statement fail', () => {
  test.each([
    ['text that PostgreSQL cannot hold', 'a\0b', '22021'],
    ['a broken constraint', 'forbidden', '23514'],
    ['a duplicate', 'word 7', '23505'],
  ])('fails alone (%s): the others are stored, once each', async (_name, faulty, code) => {
    const insert = createInserter({ maxBatch: 20 });
    const all = words(60);
    all.splice(10, 0, faulty);
    const results = await insertAll(insert, all);
    const failed = results.flatMap((result, position) => (result.status === 'rejected' ? [position] : []));
    // Of two equal words the first one wins.
    expect(failed).toEqual([10]);
    expect(results[10]).toMatchObject({ status: 'rejected', reason: { code } });
    expect(await stored()).toEqual(words(60).sort());
    results.forEach((result, position) => {
      if (position !== 10) expect(result).toEqual({ status: 'fulfilled', value: all[position]?.toUpperCase() });
    });
    expect(insert.waiting()).toBe(0);
  });

  test('of several each fails for its own reason', async () => {
    const results = await insertAll(createInserter(), ['a', 'forbidden', 'b', 'a\0b', 'c']);
    expect(results.map((result) => (result.status === 'rejected' ? result.reason.code : result.value))).toEqual([
      'A',
      '23514',
      'B',
      '22021',
      'C',
    ]);
  });
});

test('a connection that dies under a statement fails all of its callers, and the next call works', async () => {
  const insert = createInserter({ maxRunning: 1, maxBatch: 10 });
  const lock = await lockTable(testDatabase.connectionString, 'gathered');
  const doomed = insertAll(insert, words(10));
  await until(async () => (await countBlocked(sql)) === 1);
  const next = insertAll(insert, ['behind them']);
  expect(await killBlocked(sql)).toBe(1);
  for (const result of await doomed) {
    expect(result).toMatchObject({ status: 'rejected', reason: { message: expect.stringMatching(/terminat/) } });
  }
  await lock.release();
  expect(await next).toEqual([{ status: 'fulfilled', value: 'BEHIND THEM' }]);
  expect(await insert('later')).toBe('LATER');
  expect(await stored()).toEqual(['behind them', 'later']);
});

test('who comes when too many wait is refused at once; those who wait are answered', async () => {
  const insert = createInserter({ maxRunning: 2, maxBatch: 5, maxWaiting: 20 });
  const lock = await lockTable(testDatabase.connectionString, 'gathered');
  // Each crowd fits, and waits for a statement of its own to block.
  const crowds = words(10).map((word) => insert(word));
  await until(async () => (await countBlocked(sql)) === 2);
  crowds.push(
    ...words(30)
      .slice(10)
      .map((word) => insert(word)),
  );
  expect(insert.waiting()).toBe(20);

  const excess = insertAll(insert, ['too', 'many']);
  for (const result of await excess) {
    if (result.status === 'fulfilled') throw new Error('an unbounded queue');
    expect(result.reason).toBeInstanceOf(AppError);
    expect(result.reason).toMatchObject({ code: 'overloaded', status: 503, retryAfterSeconds: 1 });
  }
  expect(await countBlocked(sql)).toBe(2); // at once: nothing has moved
  expect(insert.waiting()).toBe(20);

  await lock.release();
  expect(await Promise.all(crowds)).toEqual(words(30).map((word) => word.toUpperCase()));
  expect(insert.waiting()).toBe(0);
  expect(await stored()).toEqual(words(30).sort());
  expect(await insert('after the rush')).toBe('AFTER THE RUSH');
});
