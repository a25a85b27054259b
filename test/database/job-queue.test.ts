// Jobs are stored in the transaction that needs them, and done at least once, whichever of many processes starts first, and even if
// some recipients do not answer.

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createJobQueue, type JobQueue } from '../../src/database/job-queue.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/patience.ts';

interface Job {
  readonly recipient: string;
  readonly number: number;
}

let testDatabase: TestDatabase;
let database: Database;
let queues: JobQueue<Job>[];

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 10, queueSize: 100, log: createLog('silent') });
  queues = [];
});
afterEach(async () => {
  await Promise.all(queues.map((queue) => queue.stop()));
  await database.close();
  await testDatabase.drop();
});

function createQueue(): JobQueue<Job> {
  const deps = { database, log: createLog('silent'), recipientOf: ({ recipient }: Job) => recipient };
  const queue = createJobQueue<Job>('test', deps);
  queues.push(queue);
  return queue;
}

function ask<Row>(text: string): Promise<Row[]> {
  return database.query<Row>({ name: '', text }, []).then(({ rows }) => rows);
}

/** Of the instances that say that they run: they hold timers, and connect again and again. */
async function countRunning(): Promise<number> {
  const [row] = await ask<{ count: number }>(
    'SELECT count(*)::int FROM lanyard_jobs.instance WHERE stopped_on IS NULL',
  );
  return row?.count ?? 0;
}

const job = (number: number, recipient = 'a recipient'): Job => ({ recipient, number });

test('of many processes that start at once on an empty database each stores its job, and each job is done once', async () => {
  const all = Array.from({ length: 6 }, createQueue);
  const done: number[] = [];
  await Promise.all([
    ...all.map((queue, number) => queue.add(database.query, job(number))),
    ...all.slice(0, 3).map((queue) => queue.work(async ({ number }) => void done.push(number))),
  ]);
  await until(() => done.length >= all.length);
  expect(done.sort()).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a job is stored if and only if its transaction commits', async () => {
  const queue = createQueue();
  const done: number[] = [];
  await queue.work(async ({ number }) => void done.push(number));
  const failing = database.transaction(async (query) => {
    await queue.add(query, job(1));
    throw new Error('rolled back');
  });
  await expect(failing).rejects.toThrow('rolled back');
  await database.transaction((query) => queue.add(query, job(2)));
  await until(() => done.length > 0);
  expect(done).toEqual([2]);
});

test('transactions that hold every connection of the pool may all be the first to store a job', async () => {
  const queue = createQueue();
  const { max } = database.pool.options;
  const all = Array.from({ length: max }, (_, number) =>
    database.transaction((query) => queue.add(query, job(number))),
  );
  await Promise.all(all);
  const [stored] = await ask<{ count: number }>('SELECT count(*)::int FROM lanyard_jobs.job');
  expect(stored?.count).toBe(max);
});

test('a recipient that answers slowly, and has jobs without end, does not delay the others', async () => {
  const queue = createQueue();
  for (let number = 0; number < 30; number++) await queue.add(database.query, job(number, 'slow'));
  let slow = 0;
  const done: string[] = [];
  const released = Promise.withResolvers<void>();
  await queue.work(async ({ recipient }) => {
    if (recipient === 'slow') {
      slow += 1;
      await released.promise;
    }
    done.push(recipient);
  });
  try {
    await until(() => slow >= 3);
    for (let number = 0; number < 5; number++) await queue.add(database.query, job(number, `quick ${number}`));
    await until(() => done.length >= 5, 'the jobs of the others');
    expect(done.every((recipient) => recipient.startsWith('quick'))).toBe(true);
    expect(slow).toBe(3);
  } finally {
    const stopping = queue.stop();
    released.resolve();
    await stopping;
  }
});

test('a start that failed leaves nothing running, and the next one succeeds', async () => {
  await createQueue().add(database.query, job(1));
  await queues[0]?.stop();
  expect(await countRunning()).toBe(0);
  await ask('ALTER FUNCTION lanyard_jobs.create_queue(text, jsonb) RENAME TO hidden');
  const queue = createQueue();
  const attempts = await Promise.allSettled([1, 2, 3].map((number) => queue.add(database.query, job(number))));
  expect(attempts.map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
  expect(await countRunning()).toBe(0);
  await ask('ALTER FUNCTION lanyard_jobs.hidden(text, jsonb) RENAME TO create_queue');
  await queue.add(database.query, job(2));
  const [stored] = await ask<{ count: number }>('SELECT count(*)::int FROM lanyard_jobs.job');
  expect(stored?.count).toBe(2);
});
