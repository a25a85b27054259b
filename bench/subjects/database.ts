// With DATABASE_URL: a temporary database on that PostgreSQL, so that existing data neither affects
// the results nor is changed.

import pg from 'pg';
import { postmasterOf } from './processes.ts';

export interface BenchDatabase {
  readonly url: string;
  /** undefined when that PostgreSQL does not run on this machine */
  readonly postmasterPid: number | undefined;
  drop(): Promise<void>;
}

export async function createBenchDatabase(databaseUrl: string): Promise<BenchDatabase> {
  const name = `lanyard_bench_${process.pid}`;
  const postmasterPid = await withClient(databaseUrl, async (sql) => {
    await sql.query(`CREATE DATABASE ${name}`);
    const { rows } = await sql.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    return postmasterOf(rows[0]?.pid as number);
  });
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    postmasterPid,
    async drop() {
      await withClient(databaseUrl, (sql) => sql.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
    },
  };
}

async function withClient<T>(connectionString: string, work: (sql: pg.Client) => Promise<T>): Promise<T> {
  const sql = new pg.Client({ connectionString });
  sql.on('error', () => {});
  await sql.connect();
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}
