// The embedded PostgreSQL as an operator meets it: real clusters in throw-away folders, real kill -9. The owner whose death
// matters runs in a process of its own. What only concerns root is in embedded-root.test.ts.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/database/embedded/embedded-postgres.ts';
import { superuserUrl } from '../../src/database/embedded/roles.ts';
import { spawnAs } from '../../src/database/embedded/spawn.ts';
import { migrateToLatest } from '../../src/database/migrations.ts';
import { until } from '../support/patience.ts';

const EMBEDDED_URL = new URL('../../src/database/embedded/embedded-postgres.ts', import.meta.url).href;

/** A data folder after its first start, to be copied: to make a cluster takes seconds. */
let template: string;
/** For tests that leave no trace. */
let shared: string;
let running: EmbeddedPostgres | undefined;
let dataDir: string;
let started: EmbeddedPostgres[];
let owners: ChildProcess[];
let dir: string;

beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'lanyard-embedded-template-'));
  await (await startEmbeddedPostgres({ dataDir: template, log: () => {} })).stop();
  shared = `${template}-shared`;
  expect(spawnSync('cp', ['-a', template, shared]).status).toBe(0);
});
afterAll(async () => {
  await running?.stop();
  for (const folder of [template, shared]) await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lanyard-embedded-'));
  dataDir = join(dir, 'postgres');
  // With owners and modes, which fs.cp() does not keep.
  expect(spawnSync('cp', ['-a', template, dataDir]).status).toBe(0);
  started = [];
  owners = [];
});

/** For what a first start does. */
const emptyFolder = () => rm(dataDir, { recursive: true });

afterEach(async () => {
  for (const owner of owners) await kill(owner);
  for (const postgres of started) await postgres.stop();
  // An owner that was killed may have left a PostgreSQL; the next start on its folder ends it.
  const hasCluster = await stat(join(dataDir, 'cluster')).catch(() => undefined);
  if (owners.length > 0 && hasCluster) await (await start()).stop();
  await rm(dir, { recursive: true, force: true });
});

test('finds its data again after a restart, with the same password and as the same role', async () => {
  const first = await start();
  await query(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await first.stop();

  const second = await start();
  expect(await query(second, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  expect(new URL(second.connectionString).password).toBe(new URL(first.connectionString).password);
});

test('has one database, under the name that is asked for; one that is missing later is made, and nothing else changes', async () => {
  const names = (postgres: EmbeddedPostgres) =>
    query(postgres, 'SELECT datname AS name FROM pg_database WHERE NOT datistemplate ORDER BY 1');
  const first = await start();
  await query(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
  expect(await names(first)).toEqual([{ name: 'lanyard' }]);
  await first.stop();

  // As after a crash before the first one had its name.
  const other = await startEmbeddedPostgres({ dataDir, databaseName: 'the "other" one', log: () => {} });
  started.push(other);
  expect(await names(other)).toEqual([{ name: 'lanyard' }, { name: 'the "other" one' }]);
  expect(await query(other, "SELECT 1 FROM pg_class WHERE relname = 'kept'")).toEqual([]);
  await other.stop();
  expect(await query(await start(), 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('keeps every commit on disk, in UTF-8, behind a password that only the owner can read', async () => {
  const postgres = await start();
  const [settings] = await query(
    postgres,
    `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
            current_setting('server_encoding') AS encoding, current_database() AS name`,
  );
  expect(settings).toEqual({ fsync: 'on', commit: 'on', encoding: 'UTF8', name: 'lanyard' });

  const passwordFile = await stat(join(dataDir, 'postgres-password'));
  expect(passwordFile.mode & 0o777).toBe(0o600);
  expect(await readdir(dataDir)).toEqual(['cluster', 'lock', 'postgres-password']);

  const wrong = new URL(postgres.connectionString);
  wrong.password = 'wrong';
  await expect(query({ connectionString: wrong.href }, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
});

describe('the server connects as a role that is no superuser: an injected statement', () => {
  test.each([
    ['runs no program', "COPY (SELECT 1) TO PROGRAM 'true'", '42501'],
    ['reads no file', "SELECT pg_read_file('postgresql.conf')", '42501'],
    ['writes no file', "COPY (SELECT 1) TO 'injected'", '42501'],
    ['makes no role', 'CREATE ROLE intruder SUPERUSER LOGIN', '42501'],
    ['does not become the superuser', 'SET ROLE postgres', '42501'],
    ['does not give itself more', 'ALTER ROLE lanyard SUPERUSER', '42501'],
    ['loads no library', "LOAD 'intruder'", '42501'],
  ])('%s', async (_what, statement, code) => {
    running ??= await startEmbeddedPostgres({ dataDir: shared, log: () => {} });
    await expect(query(running, statement)).rejects.toMatchObject({ code });
  });

  test('and the database is its own: schemas, tables, functions and triggers', async () => {
    running ??= await startEmbeddedPostgres({ dataDir: shared, log: () => {} });
    await migrateToLatest(running.connectionString);
    await query(running, 'CREATE SCHEMA lanyard_jobs; CREATE TABLE lanyard_jobs.job (id int)');
    expect(await query(running, 'SELECT current_user AS role')).toEqual([{ role: 'lanyard' }]);
  });
});

test('an access rule that somebody has added does not outlive a start: nobody enters without a password', async () => {
  const rules = join(dataDir, 'cluster', 'pg_hba.conf');
  await writeFile(rules, 'host all all 127.0.0.1/32 trust\n');
  await appendFile(join(dataDir, 'cluster', 'postgresql.auto.conf'), `hba_file = '${rules}.other'\n`);
  await writeFile(`${rules}.other`, 'host all all 127.0.0.1/32 trust\n', { mode: 0o644 });
  const postgres = await start();
  for (const role of ['postgres', 'lanyard']) {
    const connectionString = `postgres://${role}:wrong@127.0.0.1:${postgres.port}/lanyard`;
    await expect(query({ connectionString }, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  }
});

test('a database of an earlier version, which the superuser owns, goes to the role of the server with all that is in it', async () => {
  const first = await start();
  const superuser = await asSuperuser(first);
  await query(
    superuser,
    `ALTER DATABASE lanyard OWNER TO postgres; SET ROLE postgres;
     CREATE TABLE public.parted (id serial, at date) PARTITION BY LIST (id);
     CREATE TABLE public.part PARTITION OF public.parted DEFAULT;
     INSERT INTO public.parted (at) VALUES ('2026-01-02');
     CREATE SCHEMA lanyard_jobs; CREATE TYPE lanyard_jobs.state AS ENUM ('a'); CREATE TYPE lanyard_jobs.pair AS (a int);
     CREATE TABLE lanyard_jobs.job (id int PRIMARY KEY); CREATE VIEW lanyard_jobs.seen AS TABLE lanyard_jobs.job;
     CREATE SEQUENCE public.apart; CREATE DOMAIN public.short AS text;
     CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
     CREATE PROCEDURE public.none() LANGUAGE sql AS ''`,
  );
  await migrateToLatest(superuser.connectionString);
  await first.stop();

  const second = await start();
  const [left] = await query(
    second,
    `SELECT (SELECT count(*)::int FROM pg_class WHERE oid >= 16384 AND relowner = 10 AND relkind <> 't') AS relations,
            (SELECT count(*)::int FROM pg_proc WHERE oid >= 16384 AND proowner = 10) AS routines,
            (SELECT count(*)::int FROM pg_type WHERE oid >= 16384 AND typowner = 10) AS types,
            (SELECT count(*)::int FROM pg_namespace WHERE oid >= 16384 AND nspowner = 10) AS schemas`,
  );
  expect(left).toEqual({ relations: 0, routines: 0, types: 0, schemas: 0 });
  expect(await query(second, "INSERT INTO parted (at) VALUES ('2026-01-03') RETURNING id")).toEqual([{ id: 2 }]);
  expect(await query(second, 'SELECT count(*)::int AS rows FROM parted')).toEqual([{ rows: 2 }]);
  expect(await migrateToLatest(second.connectionString)).toEqual([]);
});

test('listens on the loopback address only, whatever the settings say', async () => {
  const postgres = await start({ settings: { listen_addresses: '*', port: '1' } });
  expect(
    await query(await asSuperuser(postgres), "SELECT current_setting('unix_socket_directories') AS sockets"),
  ).toEqual([{ sockets: '' }]);
  // All of 127.0.0.0/8 is this machine on Linux: a server that listens on every address answers here too.
  const elsewhere = new URL(postgres.connectionString);
  elsewhere.hostname = '127.0.0.2';
  await expect(query({ connectionString: elsewhere.href }, 'SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('refuses a second start on the same folder while the first runs, in the same process and in another', async () => {
  const first = await start();
  await expect(start()).rejects.toThrow(`another Lanyard is already running on ${dataDir}`);
  expect(await firstLine(spawnOwner())).toBe(`another Lanyard is already running on ${dataDir}`);
  expect(await query(first, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('lets exactly one of several simultaneous starts have a fresh folder', async () => {
  await emptyFolder();
  const lines = await Promise.all([1, 2, 3].map(() => firstLine(spawnOwner())));
  expect(lines.filter((line) => line.startsWith('postgres://'))).toHaveLength(1);
  expect(lines.filter((line) => line.startsWith('another Lanyard'))).toHaveLength(2);
});

test('takes the folder over after its owner was killed, and ends the PostgreSQL that was left', async () => {
  const owner = spawnOwner();
  const orphanUrl = await firstLine(owner);
  await query({ connectionString: orphanUrl }, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await kill(owner);
  expect(await query({ connectionString: orphanUrl }, 'SELECT answer FROM kept')).toHaveLength(1);

  const next = await start();
  expect(await query(next, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  await expect(query({ connectionString: orphanUrl }, 'SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('recovers every confirmed row after PostgreSQL was killed in the middle of writes', async () => {
  const first = await start();
  await query(first, 'CREATE TABLE written (id int PRIMARY KEY)');
  const writer = new pg.Client({ connectionString: first.connectionString });
  writer.on('error', () => {});
  await writer.connect();
  let confirmed = 0;
  const writing = (async () => {
    for (;;) {
      await writer.query('INSERT INTO written VALUES ($1)', [confirmed + 1]);
      confirmed += 1;
    }
  })();
  await until(() => confirmed >= 50, '50 confirmed rows');
  process.kill(first.pid, 'SIGKILL');
  await expect(writing).rejects.toThrow();
  expect(await first.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await first.stop();

  const [row] = await query(await start(), 'SELECT count(*)::int AS rows, max(id) AS newest FROM written');
  expect(row?.rows).toBe(row?.newest);
  // The last insert may have been committed without its answer reaching us.
  expect([confirmed, confirmed + 1]).toContain(row?.newest);
});

test('waits for a process of the killed PostgreSQL that still holds its memory', async () => {
  const first = await start();
  const session = new pg.Client({ connectionString: first.connectionString });
  session.on('error', () => {});
  await session.connect();
  const { rows } = await session.query('SELECT pg_backend_pid() AS pid');
  process.kill(rows[0].pid, 'SIGSTOP');
  process.kill(first.pid, 'SIGKILL');
  await first.stop();
  const lines: string[] = [];
  const next = start({ log: (line) => lines.push(line) });
  await until(() => lines.some((line) => line.includes('pre-existing shared memory block')), 'a failed attempt');
  process.kill(rows[0].pid, 'SIGCONT');
  expect(await query(await next, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('starts although a crash left half a cluster', async () => {
  await emptyFolder();
  await mkdir(join(dataDir, 'cluster.new-abc', 'base'), { recursive: true });
  await writeFile(join(dataDir, 'cluster.new-abc', 'PG_VERSION'), '18\n');
  await writeFile(join(dataDir, 'cluster.new-abc.password'), 'old');
  await writeFile(join(dataDir, 'postgres-password.new'), 'half');

  const postgres = await start();
  expect(await query(postgres, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await readdir(dataDir)).toEqual(['cluster', 'lock', 'postgres-password']);
});

test.each<[string, (name: string) => boolean]>([
  ['it had its lock', (name) => name === 'lock'],
  ['initdb was about to begin', (name) => name.startsWith('cluster.new-')],
  ['initdb was writing', (name) => /^cluster\.new-[^/]+\/PG_VERSION$/.test(name)],
  ['PostgreSQL was starting', (name) => name === 'cluster/postmaster.pid'],
])('starts after its owner was killed during the very first start, when %s', async (moment, isThen) => {
  await emptyFolder();
  const owner = spawnOwner();
  await until(async () => (await readdir(dataDir, { recursive: true }).catch(() => [])).some(isThen), moment);
  await kill(owner);
  const postgres = await start();
  expect(await query(postgres, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('is not misled by a pid file whose pid now belongs to another process', async () => {
  await (await start()).stop();
  // Of the database user, since PostgreSQL ignores processes of others by itself.
  const { uid, gid } = await stat(join(dataDir, 'cluster'));
  const bystander = spawn('cat', { uid, gid }); // which waits for its input
  owners.push(bystander);
  await writeFile(join(dataDir, 'cluster', 'postmaster.pid'), `${bystander.pid}\n/proc/self/fd/3\n1\n5432\n\n\n\n`);

  expect(await query(await start(), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
});

test('reports what PostgreSQL said when it does not start, and frees the folder', async () => {
  await expect(start({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow(
    /ended while starting \(1\):\n.*invalid value for parameter "shared_buffers": "plenty"/s,
  );
  expect(await query(await start(), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('reports the last messages and the exit of a process that has exited before a caller waits for it', async () => {
  const words: string[] = [];
  const script = ['-c', 'echo "last words" >&2; exit 3'];
  const { child, exited, stderrClosed } = await spawnAs(
    undefined,
    'sh',
    [],
    () => script,
    (line) => words.push(line),
  );
  await until(() => child.exitCode !== null, 'the end of the process');
  expect(await exited).toEqual({ code: 3, signal: null });
  await stderrClosed;
  expect(words).toEqual(['last words']);
});

test('passes none of our secrets to PostgreSQL', async () => {
  const owner = spawnOwner({ env: { ...process.env, LANYARD_SECRET_KEY: 'very-secret-value' } });
  const port = Number(new URL(await firstLine(owner)).port);
  // What a program sees that PostgreSQL itself starts.
  const rows = await query(
    await asSuperuser({ port }),
    "CREATE TEMP TABLE env (line text); COPY env FROM PROGRAM 'env'",
    ['SELECT line FROM env'],
  );
  const names = rows.map((row) => String(row.line).split('=')[0]);
  expect(names).toEqual(expect.arrayContaining(['PATH']));
  expect(names.filter((name) => name?.startsWith('LANYARD') || name?.startsWith('npm_'))).toEqual([]);
  expect(JSON.stringify(rows)).not.toContain('very-secret-value');

  const pid = Number.parseInt(await readFile(join(dataDir, 'cluster', 'postmaster.pid'), 'utf8'), 10);
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
  expect(environment).toContain('LC_ALL=C');
  expect(environment).not.toContain('very-secret-value');
});

test('outlives Ctrl-C in the terminal until its owner stops it', async () => {
  const owner = spawnOwner({ detached: true });
  const lines = createInterface({ input: owner.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  await lines.next();
  // The terminal signals the whole foreground process group.
  process.kill(-(owner.pid as number), 'SIGINT');
  expect((await lines.next()).value).toBe('drained 1');
  expect((await lines.next()).value).toBe('stopped');
  const [code] = await once(owner, 'exit');
  expect(code).toBe(0);
});

test('may be stopped twice, and tells when it has ended', async () => {
  const postgres = await start();
  await Promise.all([postgres.stop(), postgres.stop()]);
  await postgres.stop();
  expect(await postgres.exited).toEqual({ code: 0, signal: null });
});

async function asSuperuser({ port }: { port: number }): Promise<{ connectionString: string }> {
  return { connectionString: await superuserUrl(dataDir, { port, databaseName: 'lanyard' }) };
}

async function start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, log: () => {}, ...options });
  started.push(postgres);
  return postgres;
}

async function kill(owner: ChildProcess): Promise<void> {
  if (owner.exitCode !== null || owner.signalCode !== null) return;
  owner.kill('SIGKILL');
  await once(owner, 'exit');
}

/** Prints its connection string or why it did not start; after SIGINT it asks the database once more and stops it. */
function spawnOwner(options: { env?: NodeJS.ProcessEnv; detached?: boolean } = {}): ChildProcess {
  const script = `
    import { startEmbeddedPostgres } from ${JSON.stringify(EMBEDDED_URL)};
    import pg from 'pg';
    process.on('SIGINT', async () => {
      const client = new pg.Client({ connectionString: postgres.connectionString });
      await client.connect();
      console.log('drained', (await client.query('SELECT 1 AS one')).rows[0].one);
      await client.end();
      await postgres.stop();
      console.log('stopped');
      process.exit(0);
    });
    let postgres;
    try {
      postgres = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log: () => {} });
      console.log(postgres.connectionString);
    } catch (error) {
      console.log(error.message);
    }`;
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
  owners.push(owner);
  return owner;
}

async function firstLine(owner: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: owner.stdout as NodeJS.ReadableStream })) return line;
  throw new Error('the owner said nothing');
}

/** @returns the rows of the last statement, each run on one connection */
async function query(
  { connectionString }: { connectionString: string },
  statement: string,
  more: string[] = [],
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString });
  client.on('error', () => {});
  await client.connect();
  try {
    let result = await client.query(statement);
    for (const next of more) result = await client.query(next);
    return result.rows;
  } finally {
    await client.end();
  }
}
