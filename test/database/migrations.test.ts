// Migrations run up, down and up again, also while other processes start, and after a start that was interrupted.

import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrateDown, migrateToLatest } from '../../src/database/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const NAMES = readdirSync(new URL('../../migrations/', import.meta.url))
  .sort()
  .map((file) => file.replace(/\.ts$/, ''));

let database: TestDatabase;
let sql: pg.Pool;

beforeEach(async () => {
  database = await createTestDatabase();
  sql = new pg.Pool({ connectionString: database.connectionString, max: 1 });
  // Dropping the database may still meet a connection that is closing.
  sql.on('error', () => {});
});
afterEach(async () => {
  await sql.end();
  await database.drop();
});

test('a name that says since when code may serve on the migration names an earlier one', () => {
  const numbers = NAMES.map((name) => name.slice(0, 4));
  for (const name of NAMES) {
    const since = /^\d{4}-since-(.*?)-/.exec(name)?.[1];
    if (since !== undefined) expect(numbers.slice(0, NAMES.indexOf(name))).toContain(since);
  }
  expect(new Set(numbers).size).toBe(NAMES.length);
});

/** The schema as text that can be compared. */
async function schema(): Promise<string[]> {
  const { rows } = await sql.query(`
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS line
      FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'knex%'
    UNION ALL SELECT 'index ' || indexname || ' ' || indexdef FROM pg_indexes
      WHERE schemaname = 'public' AND tablename NOT LIKE 'knex%'
    UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1`);
  return rows.map((row) => row.line);
}

test('up, down, up: nothing is left in between, and the same comes again', async () => {
  const before = await schema();
  expect(before.length).toBeGreaterThan(80);
  await migrateDown(database.connectionString);
  expect(await schema()).toEqual([]);
  expect(await migrateToLatest(database.connectionString)).toEqual(NAMES);
  expect(await schema()).toEqual(before);
});

test('identifiers that were registered in another than their normal form get that beside it', async () => {
  const [migration] = NAMES.filter((name) => name.endsWith('normal-identifiers'));
  await sql.query('ALTER TABLE resource_servers DROP COLUMN normal_identifier');
  await sql.query('DELETE FROM knex_migrations WHERE name = $1', [migration]);
  const identifiers = [
    'https://A.example:443/x',
    'https://b.example',
    'https://c.example/',
    'urn:x',
    'https://\u00e9.example',
  ];
  await sql.query(`INSERT INTO resource_servers (identifier, scopes) SELECT unnest($1::text[]), '{}'`, [identifiers]);
  expect(await migrateToLatest(database.connectionString)).toContain(migration);
  const { rows } = await sql.query(
    'SELECT identifier, normal_identifier FROM resource_servers WHERE normal_identifier IS NOT NULL ORDER BY 2',
  );
  expect(rows).toEqual([
    { identifier: identifiers[0], normal_identifier: 'https://a.example/x' },
    { identifier: identifiers[4], normal_identifier: 'https://xn--9ca.example/' },
  ]);
});

test('clients that existed keep the algorithms of then, and so do those that servers of the version before still register', async () => {
  const [migration] = NAMES.filter((name) => name.endsWith('signing-algorithms'));
  await sql.query('DROP FUNCTION lanyard_write_former_algorithms, lanyard_former_algorithms CASCADE');
  await sql.query('DELETE FROM knex_migrations WHERE name = $1', [migration]);
  const insert = `INSERT INTO clients (client_id, metadata) VALUES ($1, $2)`;
  const chosen = { ...algorithms('RS256'), client_name: 'Chosen' };
  await sql.query(insert, ['chosen', chosen]);
  await sql.query(insert, ['stored', { id_token_signed_response_alg: 'RS256', scope: 'openid' }]);
  await sql.query(insert, ['older', {}]);
  expect(await migrateToLatest(database.connectionString)).toEqual([migration]);
  await sql.query(insert, ['by the version before', { id_token_signed_response_alg: 'ES256' }]);
  await sql.query(insert, ['by this version', algorithms('RS256')]);
  // As the version before answers a PATCH that removes a member.
  await sql.query(`UPDATE clients SET metadata = $1 WHERE client_id = 'chosen'`, [{}]);
  const { rows } = await sql.query('SELECT client_id, metadata, version FROM clients ORDER BY created_at');
  expect(rows).toEqual([
    { client_id: 'chosen', metadata: algorithms('ES256'), version: 1 },
    {
      client_id: 'stored',
      metadata: { ...algorithms('ES256'), id_token_signed_response_alg: 'RS256', scope: 'openid' },
      version: 2,
    },
    { client_id: 'older', metadata: algorithms('ES256'), version: 2 },
    { client_id: 'by the version before', metadata: algorithms('ES256'), version: 1 },
    { client_id: 'by this version', metadata: algorithms('RS256'), version: 1 },
  ]);
});

function algorithms(alg: string) {
  return {
    id_token_signed_response_alg: alg,
    authorization_signed_response_alg: alg,
    introspection_signed_response_alg: alg,
  };
}

test('APIs that have scopes with names of OpenID scopes keep them, and are in the audit log', async () => {
  const [migration] = NAMES.filter((name) => name.endsWith('userinfo-of-apis'));
  await sql.query('ALTER TABLE resource_servers DROP COLUMN userinfo');
  await sql.query('DELETE FROM knex_migrations WHERE name = $1', [migration]);
  await sql.query(`INSERT INTO resource_servers (identifier, scopes)
    VALUES ('https://a.example', '{read,email,openid}'), ('https://b.example', '{read}'), ('https://c.example', '{phone}')`);
  expect(await migrateToLatest(database.connectionString)).toContain(migration);
  const servers = await sql.query('SELECT scopes, userinfo FROM resource_servers ORDER BY identifier');
  expect(servers.rows).toEqual([
    { scopes: ['read', 'email', 'openid'], userinfo: true },
    { scopes: ['read'], userinfo: true },
    { scopes: ['phone'], userinfo: true },
  ]);
  const events = await sql.query('SELECT type, actor, detail FROM audit_events ORDER BY id');
  const event = { type: 'resource_server.scopes_reserved', actor: 'system' };
  expect(events.rows).toEqual([
    { ...event, detail: { resource_server: 'https://a.example', scopes: ['email', 'openid'] } },
    { ...event, detail: { resource_server: 'https://c.example', scopes: ['phone'] } },
  ]);
});

test('a second run finds nothing to do, and names carry no file extension: a build could not go on from them', async () => {
  expect(await migrateToLatest(database.connectionString)).toEqual([]);
  const { rows } = await sql.query('SELECT name FROM knex_migrations');
  expect(rows).toEqual(NAMES.map((name) => ({ name })));
});

test('of four servers that start at once, one migrates and the others wait', async () => {
  await migrateDown(database.connectionString);
  const runs = await Promise.all(Array.from({ length: 4 }, () => migrateToLatest(database.connectionString)));
  expect(runs.flat()).toEqual(NAMES);
});

test('the lock row of a run that was killed does not stop the next one', async () => {
  await migrateDown(database.connectionString);
  await sql.query('UPDATE knex_migrations_lock SET is_locked = 1');
  expect(await migrateToLatest(database.connectionString)).toEqual(NAMES);
});
