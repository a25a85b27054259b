// A database of its own for every test file, with the newest schema: a copy of the template that
// global-setup.mjs made.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { WAIT_MS } from './patience.ts';

export interface TestDatabase {
  readonly connectionString: string;
  drop(): Promise<void>;
}

/**
 * PostgreSQL copies or drops a database only while nothing, not even another copy, is connected to
 * it.
 */
const OBJECT_IN_USE = '55006';

/** @param options.locale of the C library; such a database is empty */
export async function createTestDatabase({ locale }: { locale?: string } = {}): Promise<TestDatabase> {
  const adminUrl = process.env.LANYARD_TEST_POSTGRES_URL;
  if (adminUrl === undefined) throw new Error('LANYARD_TEST_POSTGRES_URL is not set: global-setup.mjs did not run');
  const name = `test_${randomBytes(8).toString('hex')}`;
  const template =
    locale === undefined
      ? 'template_lanyard'
      : `template0 LOCALE_PROVIDER libc LC_COLLATE '${locale}' LC_CTYPE '${locale}' ENCODING 'UTF8'`;
  await withAdmin(adminUrl, (admin) => whenUnused(admin, `CREATE DATABASE ${name} TEMPLATE ${template}`));
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return {
    connectionString: url.href,
    drop: () => withAdmin(adminUrl, (admin) => whenUnused(admin, `DROP DATABASE IF EXISTS ${name}`)),
  };
}

async function withAdmin(adminUrl: string, work: (admin: pg.Client) => Promise<void>): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}

/**
 * PostgreSQL itself waits five seconds for the other connections to close; on a busy machine that
 * is not enough.
 */
async function whenUnused(admin: pg.Client, statement: string): Promise<void> {
  for (const deadline = performance.now() + WAIT_MS; ; ) {
    try {
      await admin.query(statement);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== OBJECT_IN_USE || performance.now() > deadline) throw error;
    }
  }
}
