// Every statement, and every wait for a connection, ends: also when the connections were cut without
// a word, when another session holds the lock, or when there is no connection left.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type HeldLock, lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';
import { type CuttableProxy, startProxy } from '../support/proxy.ts';

const COUNT = { name: 'test_count', text: 'SELECT count(*)::int AS count FROM kept' };
const INSERT = { name: 'test_insert', text: 'INSERT INTO kept VALUES ($1)' };
const LOCK = { name: 'test_lock', text: 'LOCK TABLE kept' };
const SLEEP = { name: 'test_sleep', text: 'SELECT pg_sleep(60)' };
/** of the promise in docs/reliability.md */
const RECOVERY_MS = 10_000;

const NOTHING_DONE = { code: 'database_unavailable', retryAfterSeconds: 1 };
const MAY_BE_DONE = { code: 'database_unavailable', retryAfterSeconds: undefined };

let testDatabase: TestDatabase;
let sql: pg.Pool;
let proxy: CuttableProxy;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  sql = new pg.Pool({ connectionString: testDatabase.connectionString, max: 2 });
  await sql.query('CREATE TABLE kept (id int PRIMARY KEY)');
});
afterAll(async () => {
  await sql.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  proxy = await startProxy(testDatabase.connectionString);
  database = open(proxy.connectionString);
  await until(database.changes.isLive, 'a live feed');
});
afterEach(async () => {
  await database.close();
  await proxy.stop();
  await sql.query('TRUNCATE kept');
});

function open(connectionString: string): Database {
  return createDatabase({ connectionString, poolSize: 4, queueSize: 100, log: createLog('silent') });
}

type Work = (database: Database) => Promise<unknown>;

const WORK: [string, Work][] = [
  ['a statement', ({ query }) => query(COUNT, [])],
  ['a batch', ({ batchQuery }) => batchQuery(COUNT, [])],
  ['a transaction', ({ transaction }) => transaction((query) => query(COUNT, []))],
  ['a long transaction', ({ longTransaction }) => longTransaction((query) => query(COUNT, []))],
];

describe('when all connections are cut without a word, and new ones work', () => {
  test.each(WORK)('%s works again within ten seconds', async (_name, work) => {
    // Several connections, all of which are cut.
    await Promise.all([work(database), work(database), work(database)]);
    proxy.cut();
    proxy.mend();
    const startedAt = performance.now();
    await until(
      () =>
        work(database).then(
          () => true,
          () => false,
        ),
      'the recovery',
    );
    expect(performance.now() - startedAt).toBeLessThan(RECOVERY_MS);
    await until(database.changes.isLive, 'a live feed');
  });

  test('the pool of a library works again too', async () => {
    const pool = database.openPool('test-library', 1);
    await pool.query('SELECT 1');
    proxy.cut();
    proxy.mend();
    await expect(pool.query('SELECT 1')).rejects.toThrow();
    await expect(pool.query('SELECT 1')).resolves.toMatchObject({ rowCount: 1 });
  });
});

describe('where there is no answer', () => {
  test('a statement that may have been committed says so; one that only reads may be sent again', async () => {
    await Promise.all([database.query(COUNT, []), database.batchQuery(COUNT, [])]);
    proxy.cut();
    const [writing, reading] = await Promise.allSettled([database.query(INSERT, [1]), database.batchQuery(COUNT, [])]);
    expect(writing).toMatchObject({ reason: MAY_BE_DONE });
    expect(reading).toMatchObject({ reason: NOTHING_DONE });
  });

  test('a transaction may be sent again before its commit was sent, and says so after', async () => {
    const cutBefore = database.transaction(async (query) => {
      await query(INSERT, [1]);
      proxy.cut();
      await query(INSERT, [2]);
    });
    await expect(cutBefore).rejects.toMatchObject(NOTHING_DONE);
    proxy.mend();
    await until(database.changes.isLive, 'a live feed');
    const cutAtCommit = database.transaction(async (query) => {
      await query(INSERT, [3]);
      proxy.cut();
    });
    await expect(cutAtCommit).rejects.toMatchObject(MAY_BE_DONE);
  });

  test.each(['transaction', 'longTransaction'] as const)('what a %s has locked is free again', async (kind) => {
    const transaction = database[kind](async (query) => {
      await query(LOCK, []);
      proxy.cut();
      await query(COUNT, []);
    });
    await expect(transaction).rejects.toMatchObject(NOTHING_DONE);
    const locks = "SELECT FROM pg_locks WHERE relation = 'kept'::regclass AND mode = 'AccessExclusiveLock'";
    await until(async () => (await sql.query(locks)).rowCount === 0, 'the end of the lock');
  });

  test('closing ends all the same', async () => {
    const closed = open(proxy.connectionString);
    await Promise.all([closed.query(COUNT, []), closed.batchQuery(COUNT, [])]);
    const waiting = Promise.allSettled([closed.query(SLEEP, []), closed.batchQuery(SLEEP, [])]);
    proxy.cut();
    await closed.close();
    expect(await waiting).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }]);
  });
});

describe('a database that answers, but cannot do it now', () => {
  let lock: HeldLock | undefined;
  afterEach(async () => {
    await lock?.release();
    lock = undefined;
  });

  test.each(WORK)('%s does not wait for a lock for ever', async (_name, work) => {
    lock = await lockTable(testDatabase.connectionString, 'kept');
    await expect(work(database)).rejects.toMatchObject({ ...NOTHING_DONE, cause: { code: '55P03' } });
  });

  test('a statement that takes too long is ended by PostgreSQL', async () => {
    await expect(database.query(SLEEP, [])).rejects.toMatchObject({ ...NOTHING_DONE, cause: { code: '57014' } });
  });

  test('a caller does not wait for a free connection for ever', async () => {
    const busy = [1, 2].map(() => database.query(SLEEP, []).catch(() => {}));
    await expect(database.query(COUNT, [])).rejects.toMatchObject(NOTHING_DONE);
    await Promise.all(busy);
  });

  test('a write to a database that only reads can be repeated', async () => {
    const standby = open(`${testDatabase.connectionString}?options=-c%20default_transaction_read_only%3Don`);
    const written = standby.query(INSERT, [1]);
    await expect(written).rejects.toMatchObject({ ...NOTHING_DONE, cause: { code: '25006' } });
    await standby.close();
  });

  test('what is wrong with a statement is no fault of the database', async () => {
    await database.query(INSERT, [1]);
    await expect(database.query(INSERT, [1])).rejects.toMatchObject({ code: '23505' });
    await expect(database.query({ name: 'test_typo', text: 'SELEC 1' }, [])).rejects.toMatchObject({ code: '42601' });
    const own = database.transaction(() => Promise.reject(new Error('on purpose')));
    await expect(own).rejects.toThrow('on purpose');
  });
});
