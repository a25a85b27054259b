// Brings a database to the newest schema. Migration names are stored without a file extension,
// because the same migration is `.ts` here and `.js` in a build, and Knex would call that
// "corrupt". Two servers that start at once take turns by an advisory lock, which PostgreSQL frees
// when its holder dies; the lock row that Knex keeps would survive a kill -9 and stop every later
// start, so it is cleared under ours.

import { readdir } from 'node:fs/promises';
import type { Knex } from 'knex';
import pg from 'pg';

interface Migration {
  readonly name: string;
  readonly url: URL;
}

const DIRECTORY = new URL('../../migrations/', import.meta.url);

const migrationSource: Knex.MigrationSource<Migration> = {
  async getMigrations() {
    const files = await readdir(DIRECTORY);
    return files
      .filter((file) => /^\d{4}-[a-z-]+\.(ts|js)$/.test(file))
      .sort()
      .map((file) => ({ name: file.replace(/\.(ts|js)$/, ''), url: new URL(file, DIRECTORY) }));
  },
  getMigrationName: (migration) => migration.name,
  getMigration: (migration) => import(migration.url.href),
};

const OLDEST_POSTGRESQL = 140_000;

/** The first connection of a start: a mistyped address is reported before the kernel gives up. */
const CONNECT_TIMEOUT_MS = 10_000;

/** An arbitrary number that only Lanyard's migrations use. */
const MIGRATION_LOCK = '5641389012340001';

/**
 * Applies what is missing, each migration in its own transaction.
 * @returns the names of the migrations applied now
 */
export async function migrateToLatest(connectionString: string): Promise<string[]> {
  return withConnection(connectionString, async (connection) => {
    const { rows } = await connection.query("SELECT current_setting('server_version_num')::int AS version");
    if (rows[0].version < OLDEST_POSTGRESQL) throw new Error('Lanyard needs PostgreSQL 14 or newer');
    return (await isLatest(connection)) ? [] : applyMissing(connection, connectionString);
  });
}

/** Nearly every start finds nothing to do: it need not wait for the lock, nor load Knex. */
async function isLatest(connection: pg.Client): Promise<boolean> {
  const { rows } = await connection.query("SELECT to_regclass('knex_migrations') IS NOT NULL AS is_there");
  if (!rows[0].is_there) return false;
  const applied = await connection.query<{ name: string }>('SELECT name FROM knex_migrations');
  const names = new Set(applied.rows.map(({ name }) => name));
  const migrations = await migrationSource.getMigrations([]);
  return migrations.every(({ name }) => names.has(name)) && names.size === migrations.length;
}

async function applyMissing(connection: pg.Client, connectionString: string): Promise<string[]> {
  return inTurn(connection, connectionString, async (builder) => {
    await builder.migrate.forceFreeMigrationsLock({ migrationSource });
    const [, applied] = await builder.migrate.latest({ migrationSource });
    return applied as string[];
  });
}

/** Loads what applying them needs, and applies nothing. */
export async function loadMigrations(): Promise<void> {
  const migrations = await migrationSource.getMigrations([]);
  await Promise.all([import('knex'), ...migrations.map((migration) => migrationSource.getMigration(migration))]);
}

/** Takes every migration back; for tests, and to remove the tables. */
export async function migrateDown(connectionString: string): Promise<void> {
  await withConnection(connectionString, (connection) =>
    inTurn(connection, connectionString, (builder) => builder.migrate.rollback({ migrationSource }, true)),
  );
}

async function withConnection<T>(connectionString: string, work: (connection: pg.Client) => Promise<T>): Promise<T> {
  const connection = new pg.Client({
    connectionString,
    application_name: 'lanyard-migrations',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // A lost connection fails the statement; without a listener the event would end the process as
  // well.
  connection.on('error', () => {});
  await connection.connect().catch((cause: NodeJS.ErrnoException) => {
    // A name with two addresses fails with an error without a message.
    throw new Error(`the database cannot be reached: ${cause.message || cause.code}`, { cause });
  });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

/** The advisory lock is held by the connection, and ends with it. */
async function inTurn<T>(
  connection: pg.Client,
  connectionString: string,
  work: (builder: Knex) => Promise<T>,
): Promise<T> {
  const { default: knex } = await import('knex');
  const builder = knex({ client: 'pg', connection: connectionString, pool: { min: 0, max: 2 } });
  try {
    await connection.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    return await work(builder);
  } finally {
    await builder.destroy();
  }
}
