// Items that wait while a statement runs go out with the next one: on a real table, with real
// failures.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Batcher, type BatcherOptions, createBatcher } from '../../src/database/batcher.ts';
import { createDatabase, type Database, type Query } from '../../src/database/database.ts';
import { AppError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { countBlocked, killBlocked, lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';
import { startProxy } from '../support/proxy.ts';

const INSERT = { name: 'test_words', text: 'INSERT INTO words SELECT * FROM unnest($1::text[]) RETURNING word' };

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
  await sql.query(`
    CREATE TABLE words (word text UNIQUE CHECK (word <> 'forbidden'));
    CREATE FUNCTION raise_state() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = substr(NEW.word, 8), MESSAGE = 'raised for the test'; END $$;
    CREATE TRIGGER raise_state BEFORE INSERT ON words FOR EACH ROW
      WHEN (NEW.word LIKE 'raise: %') EXECUTE FUNCTION raise_state();
    -- At the commit, and only for some words: waits for a lock, or refuses.
    CREATE TABLE gate ();
    CREATE FUNCTION check_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.word = 'refused late' THEN RAISE EXCEPTION USING ERRCODE = '23514'; END IF;
      PERFORM FROM gate;
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER check_at_commit AFTER INSERT ON words DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW WHEN (NEW.word LIKE '%late') EXECUTE FUNCTION check_at_commit()`);
});
afterAll(async () => {
  await database.close();
  await sql.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  await sql.query('TRUNCATE words');
  sizes = [];
  running = 0;
  mostRunning = 0;
});

/** Stores words, and tells each caller what it stored, in capitals. */
function createInserter(
  options: Partial<
    Pick<BatcherOptions<string, string>, 'maxWaiting' | 'maxBatch' | 'maxRunning' | 'isAlternating'>
  > = {},
  query: Query = database.batchQuery,
) {
  return createBatcher<string, string>({
    maxWaiting: 1_000,
    ...options,
    onBatch: (size) => sizes.push(size),
    async run(words) {
      mostRunning = Math.max(mostRunning, ++running);
      try {
        const { rows } = await query<{ word: string }>(INSERT, [words]);
        return rows.map(({ word }) => word.toUpperCase());
      } finally {
        running--;
      }
    },
  });
}

const words = (count: number) => Array.from({ length: count }, (_, number) => `word ${number}`);

async function stored(): Promise<string[]> {
  return (await sql.query('SELECT word FROM words ORDER BY word')).rows.map(({ word }) => word);
}

const codeOrValue = (result: PromiseSettledResult<string>) =>
  result.status === 'rejected' ? (result.reason.cause ?? result.reason).code : result.value;

function insertAll(insert: Batcher<string, string>, all: readonly string[]) {
  return Promise.allSettled(all.map((word) => insert(word)));
}

describe('a batch', () => {
  test('serves 200 callers with a few statements, and each gets the answer for its own item', async () => {
    const insert = createInserter();
    const answers = await Promise.all(words(200).map((word) => insert(word)));
    expect(answers).toEqual(words(200).map((word) => word.toUpperCase()));
    expect(await stored()).toEqual(words(200).sort());
    expect(sizes).toEqual([128, 72]);
  });

  test('collects what arrives while a statement runs', async () => {
    const insert = createInserter({ maxRunning: 1 });
    const lock = await lockTable(testDatabase.connectionString, 'words');
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

  test('is never larger than it may be, and no more run at the same time than may', async () => {
    const insert = createInserter({ maxRunning: 3, maxBatch: 7 });
    await Promise.all(words(100).map((word) => insert(word)));
    expect(mostRunning).toBe(3);
    expect(Math.max(...sizes)).toBe(7);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(100);
    expect(await stored()).toHaveLength(100);
  });

  test('is halved where halves alternate: the second half runs when the first one is answered', async () => {
    const insert = createInserter({ maxRunning: 1, isAlternating: true });
    const seen: number[] = [];
    await Promise.all(words(20).map((word) => insert(word).then(() => seen.push(running))));
    expect(sizes).toEqual([10, 10]);
    expect(seen).toEqual([...Array(10).fill(1), ...Array(10).fill(0)]);
  });

  test('of two or three items is not halved', async () => {
    const insert = createInserter({ maxRunning: 1, isAlternating: true });
    for (const size of [1, 2, 3]) await Promise.all(words(size).map((word) => insert(`${size} ${word}`)));
    expect(sizes).toEqual([1, 2, 3]);
  });

  test('of one item goes out at once', async () => {
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
    expect(results.map(codeOrValue)).toEqual(['A', '23514', 'B', '22021', 'C']);
  });

  test.each(['21000', '22012', '23514', '40001', '40P01', '54000', '54001'])(
    'is found by bisection (SQLSTATE %s): with a dozen statements among a hundred, not with a hundred',
    async (code) => {
      const all = words(100).with(37, `raise: ${code}`);
      const results = await insertAll(createInserter(), all);
      expect(results.map(codeOrValue)).toEqual(all.map((word, at) => (at === 37 ? code : word.toUpperCase())));
      expect(await stored()).toEqual(all.toSpliced(37, 1).sort());
      expect(sizes.length).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(100)));
    },
  );

  test('that is refused at the commit fails alone: PostgreSQL says that nothing was stored', async () => {
    const all = words(20).with(3, 'refused late');
    const results = await insertAll(createInserter(), all);
    expect(results.map(codeOrValue)).toEqual(all.map((word, at) => (at === 3 ? '23514' : word.toUpperCase())));
    expect(await stored()).toEqual(all.toSpliced(3, 1).sort());
  });
});

describe('an error of the database', () => {
  test.each(['08006', '25006', '40003', '42501', '53100', '55P03', '57014', '58030', 'P0001', 'XX000'])(
    'fails the whole batch at once (SQLSTATE %s), and nothing of it is sent again',
    async (code) => {
      const results = await insertAll(createInserter(), words(100).with(37, `raise: ${code}`));
      expect(results.map(codeOrValue)).toEqual(words(100).map(() => code));
      expect(sizes).toEqual([100]);
      expect(await stored()).toEqual([]);
    },
  );

  test('ends a bisection: what was stored is answered, what was not sent yet is not sent any more', async () => {
    const all = words(8).with(3, 'raise: 22012').with(5, 'raise: 53100');
    const results = await insertAll(createInserter(), all);
    expect(results.map(codeOrValue)).toEqual(['WORD 0', 'WORD 1', 'WORD 2', '22012', ...Array(4).fill('53100')]);
    expect(sizes).toEqual([8, 4, 2, 2, 1, 1, 4]);
    expect(await stored()).toEqual(words(3));
  });

  test('before there is a connection is no fault of an item, whatever its code', async () => {
    const refused = createDatabase({
      connectionString: `${testDatabase.connectionString}?options=-c%20geqo%3Dmaybe`, // 22023
      ...{ poolSize: 8, queueSize: 100, log: createLog('silent') },
    });
    try {
      const results = await insertAll(createInserter({}, refused.batchQuery), words(20));
      for (const result of results) {
        expect(result).toMatchObject({
          status: 'rejected',
          reason: { code: 'database_unavailable', retryAfterSeconds: 1, cause: { code: '22023' } },
        });
      }
      expect(sizes).toEqual([20]);
    } finally {
      await refused.close();
    }
  });
});

// A refresh token that was rotated twice would look like a stolen one.
test.each<[string, (cut: Database) => Query]>([
  ['one statement', ({ batchQuery }) => batchQuery],
  [
    'a transaction',
    ({ transaction }) =>
      (statement, values) =>
        transaction((query) => query(statement, values)),
  ],
])(
  '%s whose answer is lost is not repeated: each caller gets an error, and each item is stored once',
  async (_, of) => {
    const proxy = await startProxy(testDatabase.connectionString);
    // One connection of each kind: no second one that was cut as well waits in the pool.
    const cut = createDatabase({
      connectionString: proxy.connectionString,
      ...{ poolSize: 2, queueSize: 100, log: createLog('silent') },
    });
    try {
      const insert = createInserter({ maxRunning: 1 }, of(cut));
      expect(await insert('before')).toBe('BEFORE');
      const lock = await lockTable(testDatabase.connectionString, 'gate');
      const lost = insertAll(insert, [...words(10), 'stored late']);
      await until(async () => (await countBlocked(sql)) === 1, 'the commit waits');
      proxy.cut();
      await lock.release();
      await until(async () => (await stored()).length === 12, 'the commit');
      for (const result of await lost) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'database_unavailable' } });
        expect(result).not.toMatchObject({ reason: { retryAfterSeconds: expect.anything() } });
      }
      proxy.mend();
      expect(await insert('afterwards')).toBe('AFTERWARDS');
      expect(sizes).toEqual([1, 11, 1]);
      expect(await stored()).toEqual(['afterwards', 'before', 'stored late', ...words(10)].sort());
    } finally {
      await proxy.stop();
      await cut.close();
    }
  },
);

test('a connection that dies under a statement fails all of its callers, and the next call works', async () => {
  const insert = createInserter({ maxRunning: 1, maxBatch: 10 });
  const lock = await lockTable(testDatabase.connectionString, 'words');
  const doomed = insertAll(insert, words(10));
  await until(async () => (await countBlocked(sql)) === 1);
  const next = insertAll(insert, ['behind them']);
  expect(await killBlocked(sql)).toBe(1);
  for (const result of await doomed) {
    expect(result).toMatchObject({
      status: 'rejected',
      reason: { cause: { message: expect.stringMatching(/terminat/) } },
    });
  }
  await lock.release();
  expect(await next).toEqual([{ status: 'fulfilled', value: 'BEHIND THEM' }]);
  expect(await insert('later')).toBe('LATER');
  expect(await stored()).toEqual(['behind them', 'later']);
});

test('a caller that comes when too many wait is refused at once; those that wait are answered', async () => {
  const insert = createInserter({ maxRunning: 2, maxBatch: 5, maxWaiting: 20 });
  const lock = await lockTable(testDatabase.connectionString, 'words');
  // Each batch waits for a statement of its own to block.
  const callers = words(10).map((word) => insert(word));
  await until(async () => (await countBlocked(sql)) === 2);
  callers.push(
    ...words(30)
      .slice(10)
      .map((word) => insert(word)),
  );
  expect(insert.waiting()).toBe(20);

  const excess = insertAll(insert, ['too', 'many']);
  for (const result of await excess) {
    if (result.status === 'fulfilled') throw new Error('the queue has no bound');
    expect(result.reason).toBeInstanceOf(AppError);
    expect(result.reason).toMatchObject({ code: 'overloaded', status: 503, retryAfterSeconds: 1 });
  }
  expect(await countBlocked(sql)).toBe(2); // at once: nothing has moved
  expect(insert.waiting()).toBe(20);

  await lock.release();
  expect(await Promise.all(callers)).toEqual(words(30).map((word) => word.toUpperCase()));
  expect(insert.waiting()).toBe(0);
  expect(await stored()).toEqual(words(30).sort());
  expect(await insert('afterwards')).toBe('AFTERWARDS');
});
