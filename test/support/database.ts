// A database of its own for every test file, with the newest schema: a copy of the template that global-setup.mjs made.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface TestDatabase {
  readonly connectionString: string;
  drop(): Promise<void>;
}

/** PostgreSQL copies a template only while nobody, not even another copy, is connected to it. */
const OBJECT_IN_USE = '55006';
const RETRY_FOR_MS = 20_000;
const GRACE_MS = 3_000;

export async function createTestDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env.LANYARD_TEST_POSTGRES_URL;
  if (adminUrl === undefined) throw new Error('LANYARD_TEST_POSTGRES_URL is not set: global-setup.mjs did not run');
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withAdmin(adminUrl, async (admin) => {
    for (const retryUntil = Date.now() + RETRY_FOR_MS; ; await sleep(50)) {
      try {
        await admin.query(`CREATE DATABASE ${name} TEMPLATE template_lanyard`);
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== OBJECT_IN_USE || Date.now() > retryUntil) throw error;
      }
    }
  });
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return {
    connectionString: url.href,
    drop: () => withAdmin(adminUrl, (admin) => dropDatabase(admin, name)),
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
 * Connections that their owners have closed are gone in a moment; ended by force, the closing ones would report an error that
 * nobody listens to any more. Whoever is still connected after that is cut off.
 */
async function dropDatabase(admin: pg.Client, name: string): Promise<void> {
  for (const retryUntil = Date.now() + GRACE_MS; ; await sleep(20)) {
    try {
      await admin.query(`DROP DATABASE IF EXISTS ${name}`);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== OBJECT_IN_USE) throw error;
    }
    if (Date.now() > retryUntil) break;
  }
  await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}
