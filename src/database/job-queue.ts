// Work that must be done although the process, or the other side, may fail meanwhile: jobs are rows (pg-boss), stored together with
// whatever else a transaction stores, done at least once, tried again with growing pauses. The library is large: it is loaded by
// the first process that has a job, or that does jobs.

import { hash } from 'node:crypto';
import type { ConstructorOptions, JobWithMetadata, PgBoss } from 'pg-boss';
import type { Log } from '../log.ts';
import type { Database, Query } from './database.ts';

/** Of the tables of pg-boss, which makes and migrates them by itself. */
const SCHEMA = 'lanyard_jobs';

/** Five seconds after the first failure, then twice as long each time, an hour at most: about a day in all. */
const RETRY = { retryLimit: 30, retryDelay: 5, retryBackoff: true, retryDelayMax: 3600 };
/** A job that takes longer has died with its process. Longer than any request of ours (outbound). */
const EXPIRE_SECONDS = 15;
const RETENTION_SECONDS = 2 * 86_400;
const POLL_SECONDS = 1;
/** How often it looks for jobs that have died. */
const SUPERVISE_SECONDS = 5;
/** Beside those of LANYARD_DATABASE_POOL_SIZE. */
const CONNECTIONS = 2;
/** At a time, in one process. */
const CONCURRENCY = 10;
/** Of these, for one recipient: whoever lets us wait keeps nobody else waiting. */
const CONCURRENCY_PER_RECIPIENT = 3;

export interface JobQueue<Job extends object> {
  /** Stores a job with whatever else `query` stores. */
  add(query: Query, job: Job): Promise<void>;
  /** Does jobs in this process from now on. One process of an installation is enough; several do no harm. */
  work(doJob: (job: Job, attempt: JobAttempt) => Promise<void>): Promise<void>;
  /** Finishes the jobs underway. */
  stop(): Promise<void>;
}

export interface JobAttempt {
  /** It will not be tried again. */
  readonly isLast: boolean;
}

export interface JobQueueDeps<Job extends object> {
  readonly database: Pick<Database, 'pool'>;
  readonly log: Log;
  /** Jobs of one recipient take up a part of this process only. */
  readonly recipientOf: (job: Job) => string;
}

export function createJobQueue<Job extends object>(name: string, deps: JobQueueDeps<Job>): JobQueue<Job> {
  const { database, log, recipientOf } = deps;
  const sender = onDemand(() => start({ supervise: false }));
  const worker = onDemand(() => start({ supervise: true }));

  async function start(options: { supervise: boolean }): Promise<PgBoss> {
    const { PgBoss } = await import('pg-boss');
    const boss = new PgBoss({
      // Its own: it may start while every connection of the pool is held by a transaction that waits for it.
      connectionString: database.pool.options.connectionString as string,
      max: CONNECTIONS,
      application_name: 'lanyard-jobs',
      schema: SCHEMA,
      schedule: false,
      superviseIntervalSeconds: SUPERVISE_SECONDS,
      monitorIntervalSeconds: SUPERVISE_SECONDS,
      ...options,
    });
    boss.on('error', (error) => log.warn({ error }, 'the job queue failed'));
    try {
      await boss.start();
      await boss.createQueue(name, {
        ...RETRY,
        expireInSeconds: EXPIRE_SECONDS,
        retentionSeconds: RETENTION_SECONDS,
        deleteAfterSeconds: RETENTION_SECONDS,
      });
      return boss;
    } catch (error) {
      // What of it runs already would go on, and keep its connections.
      await boss.stop({ graceful: false }).catch(() => {});
      throw error;
    }
  }

  return {
    async add(query, job) {
      const boss = await sender.get();
      await boss.send(name, job, { db: within(query), group: { id: recipientOf(job) } });
    },

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
      await Promise.all([sender, worker].map(async (each) => (await each.started())?.stop()));
    },
  };
}

/** Made when it is first needed. When that fails, whoever needs it next tries again. */
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
