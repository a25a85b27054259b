// Brings a database to the newest schema. Migration names are stored without a file extension,
// because the same migration is `.ts` here and `.js` in a build, and Knex would call that
// "corrupt". Two servers that start at once take turns by an advisory lock, which PostgreSQL frees
// when its holder dies; the lock row that Knex keeps would survive a kill -9 and stop every later
// start, so it is cleared under ours.
//
// While a rolling upgrade lasts, servers of the version before may start on the newer schema, if the
// names of the newer migrations say so: on `0018-since-0016-groups` serves code whose own newest
// migration is 0016 or later (docs/operations.md#upgrades). The code before cannot know more of them.

import { readdir } from 'node:fs/promises';
import type { Knex } from 'knex';
import pg from 'pg';
import type { Log } from '../log.ts';
import { sessionSettings } from './connection.ts';

interface Migration {
  readonly name: string;
  readonly url: URL;
}

const DIRECTORY = new URL('../../migrations/', import.meta.url);

const migrationSource: Knex.MigrationSource<Migration> = {
  async getMigrations() {
    const files = await readdir(DIRECTORY);
    return files
      .filter((file) => /^\d{4}-(since-\d{4}-)?[a-z-]+\.(ts|js)$/.test(file))
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

/** The oldest code that may serve on what a migration has made, by the number of its newest migration. */
const SINCE = /^\d{4}-since-(\d{4})-/;

export interface MigrationOptions {
  readonly log?: Pick<Log, 'warn'>;
  /** ends the wait for another server that migrates; a migration that has begun is finished */
  readonly stopSignal?: AbortSignal | undefined;
}

/**
 * Applies what is missing, each migration in its own transaction.
 * @returns the names of the migrations applied now
 * @throws Error when a newer version has made a schema on which this one cannot serve
 */
export async function migrateToLatest(
  connectionString: string,
  { log, stopSignal }: MigrationOptions = {},
): Promise<string[]> {
  return withConnection(connectionString, async (connection) => {
    const { rows } = await connection.query("SELECT current_setting('server_version_num')::int AS version");
    if (rows[0].version < OLDEST_POSTGRESQL) throw new Error('Lanyard needs PostgreSQL 14 or newer');
    const found = await compare(connection);
    // Nearly every start finds nothing to do: it need not wait for the lock, nor load Knex.
    const { applied, newer } =
      found.missing.length === 0
        ? { applied: [], newer: found.newer }
        : await applyMissing(connection, connectionString, stopSignal);
    if (newer.length > 0) log?.warn({ migrations: newer }, 'a newer version has migrated the database; serving on it');
    return applied;
  });
}

interface Comparison {
  /** of this code, not applied yet */
  readonly missing: readonly string[];
  /** applied, but not of this code, which may serve on them all the same */
  readonly newer: readonly string[];
}

/** @throws Error when this code must neither migrate nor serve */
async function compare(connection: pg.Client): Promise<Comparison> {
  const own = (await migrationSource.getMigrations([])).map(({ name }) => name);
  const { rows } = await connection.query("SELECT to_regclass('knex_migrations') IS NOT NULL AS is_there");
  if (!rows[0].is_there) return { missing: own, newer: [] };
  const result = await connection.query<{ name: string }>('SELECT name FROM knex_migrations ORDER BY name');
  const applied = result.rows.map(({ name }) => name);
  const missing = own.filter((name) => !applied.includes(name));
  const newer = applied.filter((name) => !own.includes(name));
  const newestNumber = own.at(-1)?.slice(0, 4) as string;
  const mayServeOn = (name: string) => {
    const since = SINCE.exec(name)?.[1];
    return missing.length === 0 && since !== undefined && since <= newestNumber;
  };
  const refused = newer.filter((name) => !mayServeOn(name));
  if (refused.length === 0) return { missing, newer };
  throw new Error(
    `a newer version of Lanyard has migrated the database (${refused.join(', ')}), and this version cannot serve on it. ` +
      'Start the newer version. The way back to this one is a backup from before.',
  );
}

async function applyMissing(
  connection: pg.Client,
  connectionString: string,
  stopSignal: AbortSignal | undefined,
): Promise<{ applied: string[]; newer: readonly string[] }> {
  const work = async (builder: Knex) => {
    // The server that had the lock before may have been a newer one.
    const { missing, newer } = await compare(connection);
    if (missing.length === 0) return { applied: [], newer };
    await builder.migrate.forceFreeMigrationsLock({ migrationSource });
    const [, applied] = await builder.migrate.latest({ migrationSource });
    return { applied: applied as string[], newer };
  };
  return inTurn(connection, connectionString, work, stopSignal);
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

/** @throws Error when the database cannot be reached */
export async function withConnection<T>(
  connectionString: string,
  work: (connection: pg.Client) => Promise<T>,
): Promise<T> {
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
    await connection.query(sessionSettings());
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
  stopSignal?: AbortSignal,
): Promise<T> {
  const { default: knex } = await import('knex');
  const afterCreate = (raw: pg.Client, done: (error: Error | undefined, raw: pg.Client) => void) =>
    raw.query(sessionSettings(), (error) => done(error, raw));
  const builder = knex({ client: 'pg', connection: { connectionString }, pool: { min: 0, max: 2, afterCreate } });
  // Fails the statement that waits for the lock.
  const giveUp = () => void connection.end();
  try {
    stopSignal?.throwIfAborted();
    stopSignal?.addEventListener('abort', giveUp);
    await connection.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    stopSignal?.removeEventListener('abort', giveUp);
    return await work(builder);
  } finally {
    stopSignal?.removeEventListener('abort', giveUp);
    await builder.destroy();
  }
}
