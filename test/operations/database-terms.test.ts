// The terms on which a database of an operator's own takes connections: how many, with which settings of the role and the database, and at
// which address.

import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { sharePool } from '../../src/database/connection-budget.ts';
import { createDatabase } from '../../src/database/database.ts';
import { migrateToLatest } from '../../src/database/migrations.ts';
import { createLog } from '../../src/log.ts';
import { introspect, requestToken } from '../support/admin.ts';
import { createTestDatabase } from '../support/database.ts';
import { CODE_FLOW, clientToken } from '../support/oauth.ts';
import { eventually } from '../support/patience.ts';
import { launch, makeHome, removeHome, start, stop, stopAll } from '../support/process.ts';
import { startProxy } from '../support/proxy.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://opaque.example';

let role: string;
let server: TestServer | undefined;
beforeEach(() => {
  role = `terms_${randomBytes(4).toString('hex')}`;
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  await stopAll();
});

/** @returns the address at which an ordinary role with these terms may use the database */
async function asOrdinaryRole(connectionString: string, terms: readonly string[]): Promise<string> {
  const url = new URL(connectionString);
  const databaseName = url.pathname.slice(1);
  const superuser = new pg.Client({ connectionString });
  await superuser.connect();
  await superuser.query(
    `CREATE ROLE ${role} LOGIN PASSWORD '${role}'; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role};
     GRANT CREATE ON DATABASE ${databaseName} TO ${role}; GRANT CREATE ON SCHEMA public TO ${role}`,
  );
  for (const term of terms) await superuser.query(`ALTER ROLE ${role} ${term}`);
  await superuser.end();
  [url.username, url.password] = [role, role];
  return url.href;
}

describe('a role with a limit of connections', () => {
  test('below the size of the pools: they share what there is, and every request of a crowd is answered', async () => {
    server = await startTestServer(
      { LANYARD_DATABASE_POOL_SIZE: '20' },
      { through: (connectionString) => asOrdinaryRole(connectionString, ['CONNECTION LIMIT 7']) },
    );
    await server.admin.createApi(API, { scopes: ['read'], access_token_format: 'opaque' });
    const app = await server.admin.createClient();
    await server.admin.allow(app.clientId, API, ['read']);
    const token = await clientToken(server, app);
    const { issuer, admin } = server;
    const crowd = Array.from({ length: 40 }, () => [
      requestToken(issuer, app),
      introspect(issuer, app, token),
      admin.createClient().then(() => ({ status: 200 })),
    ]).flat();
    for (const { status } of await Promise.all(crowd)) expect(status).toBe(200);

    const warning = server.logLines.find((line) => line.includes('the pools are smaller'));
    expect(JSON.parse(warning ?? '{}')).toMatchObject({ connections: 7, processes: 1, configured: 20, pool_size: 4 });
  });

  test('that leaves too few: the start says so, with the numbers, and so it does when others have them', async () => {
    const database = await createTestDatabase();
    const home = await makeHome();
    const env = {
      DATABASE_URL: await asOrdinaryRole(database.connectionString, ['CONNECTION LIMIT 15']),
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
      LANYARD_WORKERS: '2',
    };
    const held = new pg.Client({ connectionString: env.DATABASE_URL });
    held.on('error', () => {});
    await held.connect();
    const more = new pg.Client({ connectionString: env.DATABASE_URL });
    await more.connect();
    // 13 are left.
    const lanyard = await start({ home, env });
    expect(await stop(lanyard)).toBe(0);
    const third = new pg.Client({ connectionString: env.DATABASE_URL });
    await third.connect();
    const refused = await launch({ home, env });
    expect((await refused.exited).code).toBe(1);
    expect(refused.stderr).toBe(
      `PostgreSQL allows too few connections: the limit of the role "${role}" is 15, 3 are in use, and ` +
        '2 processes (LANYARD_WORKERS) need 13 at least\n',
    );
    for (const client of [held, more, third]) await client.end();
    await removeHome(home);
    await database.drop();
  });

  test('connections of other roles count too, although an ordinary role sees little of them', async () => {
    const database = await createTestDatabase();
    const connectionString = await asOrdinaryRole(database.connectionString, []);
    const others = Array.from({ length: 4 }, () => new pg.Client({ connectionString: database.connectionString }));
    for (const other of others) other.on('error', () => {});
    await Promise.all(others.map((other) => other.connect()));
    await others[0]?.query(`ALTER DATABASE ${new URL(connectionString).pathname.slice(1)} CONNECTION LIMIT 8`);
    const demand = { processes: 1, poolSize: 20 };
    const refusal = 'the limit of the database is 8, 4 are in use, and one process needs 5 at least';
    await eventually(() => expect(sharePool(connectionString, demand, createLog('silent'))).rejects.toThrow(refusal));
    await others.pop()?.end();
    await eventually(async () => expect(await sharePool(connectionString, demand, createLog('silent'))).toBe(5));
    await Promise.all(others.map((other) => other.end()));
    await database.drop();
  });
});

/** Each of them breaks the parsing of some value, or a statement. */
const HOSTILE = [
  "SET datestyle = 'SQL, DMY'",
  "SET intervalstyle = 'iso_8601'",
  "SET timezone = 'Asia/Kathmandu'",
  "SET bytea_output = 'escape'",
  'SET extra_float_digits = -15',
  'SET standard_conforming_strings = off',
  'SET array_nulls = off',
  "SET default_transaction_isolation = 'serializable'",
  "SET idle_session_timeout = '30s'",
  "SET client_encoding = 'LATIN1'",
];

describe('a role with settings of its own', () => {
  test('changes no answer of the server', async () => {
    server = await startTestServer({}, { through: (url) => asOrdinaryRole(url, HOSTILE) });
    const { admin, issuer } = server;
    await admin.createApi(API, { scopes: ['read'], access_token_format: 'opaque' });
    await admin.createClient({ ...CODE_FLOW, client_name: 'Zoë' });
    const app = await admin.createClient();
    await admin.allow(app.clientId, API, ['read']);
    const token = await clientToken(server, app);
    const { body } = await introspect(issuer, app, token);
    const { exp, iat } = body as { exp: number; iat: number };
    expect([exp > iat, Math.abs(iat - Date.now() / 1000) < 600]).toEqual([true, true]);
    for (const path of ['/clients', '/users', '/resource-servers', '/keys', '/audit-events']) {
      const answer = await fetch(`${issuer}/admin/v1${path}`, {
        headers: { authorization: `Bearer ${await admin.token()}` },
      });
      const text = await answer.text();
      expect({ path, status: answer.status }).toEqual({ path, status: 200 });
      for (const [, time] of text.matchAll(/"[a-z_]+_at":"([^"]+)"/g)) expect(time).toMatch(/^20\d\d-\d\d-\d\dT.*Z$/);
      if (path === '/clients') expect(text).toContain('Zoë');
    }
  });

  test('has none of them in any pool; migrations run too', async () => {
    const testDatabase = await createTestDatabase();
    const connectionString = await asOrdinaryRole(testDatabase.connectionString, HOSTILE);
    const database = createDatabase({ connectionString, poolSize: 4, queueSize: 10, log: createLog('silent') });
    const names = ['datestyle', 'intervalstyle', 'timezone', 'bytea_output', 'extra_float_digits', 'array_nulls'];
    const values = names.map((name) => `current_setting('${name}') AS ${name}`).join();
    for (const pool of [database.pool, database.batchPool, database.openPool('test', 1)]) {
      const { rows } = await pool.query(`SELECT ${values}, current_setting('statement_timeout') AS deadline`);
      expect(rows).toEqual([
        {
          datestyle: 'ISO, MDY',
          intervalstyle: 'postgres',
          timezone: 'UTC',
          bytea_output: 'hex',
          extra_float_digits: '1',
          array_nulls: 'on',
          deadline: '5s',
        },
      ]);
    }
    await database.close();
    const superuser = new pg.Client({ connectionString: testDatabase.connectionString });
    await superuser.connect();
    await superuser.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION ${role}`);
    await superuser.end();
    expect((await migrateToLatest(connectionString)).length).toBeGreaterThan(10);
    await testDatabase.drop();
  });
});

test('a database behind a socket of the file system is reached as libpq has it', async () => {
  const testDatabase = await createTestDatabase();
  // That any account may enter, since started as root the server does not stay root.
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-socket-'));
  await chmod(folder, 0o755);
  const proxy = await startProxy(testDatabase.connectionString, folder);
  const { password, pathname } = new URL(testDatabase.connectionString);
  const home = await makeHome();
  const lanyard = await start({
    home,
    env: {
      DATABASE_URL: proxy.connectionString,
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
      LANYARD_DATABASE_POOL_SIZE: '4',
      LANYARD_WORKERS: '1',
    },
  });
  expect(lanyard.stderr).toContain(`PostgreSQL at ${folder}:5433${pathname}`);
  expect(lanyard.stderr).not.toContain(password);
  expect(await stop(lanyard)).toBe(0);
  await proxy.stop();
  await testDatabase.drop();
  await removeHome(home);
  await rm(folder, { recursive: true });
});
