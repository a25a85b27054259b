// Work that must be done although this process, or the recipient, may fail meanwhile: jobs are rows (pg-boss), stored in the transaction
// that makes them necessary, done at least once, retried with growing delays. The library is large, so it is loaded by the first
// call that needs it.

import { hash } from 'node:crypto';
import type { ConstructorOptions, JobWithMetadata, PgBoss } from 'pg-boss';
import type { Log } from '../log.ts';
import type { Database, Query } from './database.ts';

/** Of the tables that pg-boss creates and migrates by itself. */
const SCHEMA = 'lanyard_jobs';

/** Five seconds after the first failure, then twice as long each time, an hour at most: about a day in total. */
const RETRY = { retryLimit: 30, retryDelay: 5, retryBackoff: true, retryDelayMax: 3600 };
/** A job that takes longer has died with its process. Longer than any outbound request. */
const EXPIRE_SECONDS = 15;
const RETENTION_SECONDS = 2 * 86_400;
const QUEUE = {
  ...RETRY,
  expireInSeconds: EXPIRE_SECONDS,
  retentionSeconds: RETENTION_SECONDS,
  deleteAfterSeconds: RETENTION_SECONDS,
};
const POLL_SECONDS = 1;
/** How often it looks for jobs that have expired. */
const SUPERVISE_SECONDS = 5;
/** In addition to LANYARD_DATABASE_POOL_SIZE. */
const CONNECTIONS = 2;
/** A job that takes longer is done again by another process. */
const STOP_MS = 3_000;
/** At a time, in one process. */
const CONCURRENCY = 10;
/** Of these, for one recipient: one that answers slowly does not delay the others. */
const CONCURRENCY_PER_RECIPIENT = 3;
/** Stored by one statement. */
const MAX_BATCH = 10_000;

export interface JobQueue<Job extends object> {
  /** Stores a job, in the transaction of `query` if it has one. */
  add(query: Query, job: Job): Promise<void>;
  /** The same for any number of them, with a statement for each ten thousand. */
  addAll(query: Query, jobs: readonly Job[]): Promise<void>;
  /** Does jobs in this process from now on. One process of an installation is enough; several do no harm. */
  work(doJob: (job: Job, attempt: JobAttempt) => Promise<void>): Promise<void>;
  /** Finishes the jobs underway. */
  stop(): Promise<void>;
}

export interface JobAttempt {
  /** there is no retry after it */
  readonly isLast: boolean;
}

export interface JobQueueDeps<Job extends object> {
  readonly database: Pick<Database, 'openPool'>;
  readonly log: Log;
  /** Jobs of one recipient take a part of the concurrency only. */
  readonly recipientOf: (job: Job) => string;
}

export function createJobQueue<Job extends object>(name: string, deps: JobQueueDeps<Job>): JobQueue<Job> {
  const { database, log, recipientOf } = deps;
  // Connections of its own: the transactions that wait for this may hold every connection of the pool.
  const pool = database.openPool('lanyard-jobs', CONNECTIONS);
  const sender = onDemand(() => start({ supervise: false }));
  const worker = onDemand(() => start({ supervise: true }));

  async function start(options: { supervise: boolean }): Promise<PgBoss> {
    const { PgBoss } = await import('pg-boss');
    const boss = new PgBoss({
      db: { executeSql: (text, values) => pool.query(text, values) },
      schema: SCHEMA,
      schedule: false,
      superviseIntervalSeconds: SUPERVISE_SECONDS,
      monitorIntervalSeconds: SUPERVISE_SECONDS,
      ...options,
    });
    boss.on('error', (error) => log.warn({ error }, 'the job queue failed'));
    try {
      await boss.start();
      await boss.createQueue(name, QUEUE);
      return boss;
    } catch (error) {
      // The parts that have started would go on, and keep their connections.
      await boss.stop({ graceful: false }).catch(() => {});
      throw error;
    }
  }

  async function addAll(query: Query, jobs: readonly Job[]): Promise<void> {
    const inserts = jobs.map((job) => ({ data: job, group: { id: recipientOf(job) } }));
    for (let first = 0; first < inserts.length; first += MAX_BATCH) {
      const boss = await sender.get();
      await boss.insert(name, inserts.slice(first, first + MAX_BATCH), { db: within(query) });
    }
  }

  return {
    add: (query, job) => addAll(query, [job]),
    addAll,

    async work(doJob) {
      const boss = await worker.get();
      const options = {
        includeMetadata: true,
        pollingIntervalSeconds: POLL_SECONDS,
        localConcurrency: CONCURRENCY,
        localGroupConcurrency: CONCURRENCY_PER_RECIPIENT,
      } as const;
      await boss.work<Job>(name, options, async (jobs) => {
        for (const job of jobs as JobWithMetadata<Job>[])
          await doJob(job.data, { isLast: job.retryCount >= job.retryLimit });
      });
    },

    async stop() {
      await Promise.all([sender, worker].map(async (each) => (await each.started())?.stop({ timeout: STOP_MS })));
    },
  };
}

/** Made when it is first needed. When that fails, the next call tries again. */
function onDemand<T>(make: () => Promise<T>): { get(): Promise<T>; started(): Promise<T | undefined> } {
  let made: Promise<T> | undefined;
  return {
    get() {
      made ??= make().catch((error) => {
        made = undefined;
        throw error;
      });
      return made;
    },
    started: async () => made?.catch(() => undefined),
  };
}

/** The one statement that stores a job, within the transaction of `query`. */
function within(query: Query): NonNullable<ConstructorOptions['db']> {
  return {
    executeSql(text, values = []) {
      return query({ name: `job ${hash('sha256', text, 'base64url')}`, text }, values);
    },
  };
}
