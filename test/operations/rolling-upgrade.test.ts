// While an upgrade rolls over the servers, some of the version before still run, or start again, on the schema of the newer one
// (docs/operations.md#upgrades). This checkout is the version before; newer ones are copies of it with more migrations. The last
// release takes this checkout's place as soon as there is one.

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createAdminClient, introspect, revoke } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  INACTIVE,
  obtainTokens,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import {
  type LanyardProcess,
  launch,
  makeHome,
  type ProcessOptions,
  removeHome,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { ADMIN_SECRET, freePort, SECRET_KEY } from '../support/server.ts';
import { testWhere } from '../support/where.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const EXPAND = `
  ALTER TABLE clients ADD COLUMN nickname text;
  ALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT '';
  ALTER TABLE oidc_artifacts ADD COLUMN nickname text;
  CREATE TABLE nicknames (nickname text PRIMARY KEY);`;
const CONTRACT = 'ALTER TABLE clients DROP COLUMN nickname;';

let home: string;
let database: TestDatabase;
let port: number;
const folders: string[] = [];
/** of this checkout's newest migration, and of the two after it */
let [newest, second, third] = ['', '', ''];

beforeAll(async () => {
  home = await makeHome();
  const names = (await readdir(join(ROOT, 'migrations'))).sort();
  const number = Number(names.at(-1)?.slice(0, 4));
  [newest, second, third] = [number, number + 1, number + 2].map((n) => String(n).padStart(4, '0')) as [
    string,
    string,
    string,
  ];
});
beforeEach(async () => {
  database = await createTestDatabase();
  port = await freePort();
});
afterEach(async () => {
  await stopAll();
  await database.drop();
});
afterAll(async () => {
  await removeHome(home);
  for (const folder of folders) await rm(folder, { recursive: true });
});

/** A copy of this checkout with more migrations. @returns its program */
async function makeRelease(migrations: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lanyard-release-'));
  folders.push(folder);
  for (const part of ['src', 'migrations', 'package.json'])
    await cp(join(ROOT, part), join(folder, part), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const [name, sql] of Object.entries(migrations)) {
    const text = `export const up = (knex: any) => knex.raw(\`${sql}\`);\nexport const down = () => {};\n`;
    await writeFile(join(folder, 'migrations', `${name}.ts`), text);
  }
  return join(folder, 'src', 'start.mjs');
}

/** @param main of another release than this checkout */
function optionsOf(main?: string, own: { port?: number; env?: Record<string, string> } = {}): ProcessOptions {
  return {
    home,
    port: own.port ?? port,
    ...(main === undefined ? {} : { main }),
    env: {
      DATABASE_URL: database.connectionString,
      LANYARD_SECRET_KEY: SECRET_KEY,
      LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
      LANYARD_DATABASE_POOL_SIZE: '4',
      LANYARD_ISSUER: `http://localhost:${port}`,
      LANYARD_WORKERS: '1',
      ...own.env,
    },
  };
}

/** Every table that a release may have changed is written and read. */
async function useAll({ issuer }: LanyardProcess): Promise<void> {
  const server = { issuer };
  const admin = createAdminClient(issuer, ADMIN_SECRET);
  const api = `https://${crypto.randomUUID()}.example`;
  await admin.createApi(api, { scopes: ['read'], access_token_format: 'opaque' });
  const app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  await admin.allow(app.clientId, api, ['read']);
  const own = await clientToken(server, app, { resource: api });
  expect((await introspect(issuer, app, own)).body).toMatchObject({ active: true, client_id: app.clientId });
  expect((await revoke(issuer, app, own)).status).toBe(200);
  expect((await introspect(issuer, app, own)).body).toEqual(INACTIVE);

  const user = { ...ALICE, username: crypto.randomUUID() };
  await admin.createUser(user.username, user.password);
  const tokens = await obtainTokens(server, app, { scope: 'openid offline_access', prompt: 'consent' }, { user });
  expect((await userinfo(server, tokens.accessToken)).status).toBe(200);
  const renewed = toTokens(await refresh(server, app, tokens.refreshToken));
  expect((await userinfo(server, renewed.accessToken)).status).toBe(200);
  expect((await admin.request('DELETE', `/clients/${app.clientId}`)).status).toBe(204);
}

test('expand: the version before goes on while the newer one migrates, and starts again on the new schema with a warning', async () => {
  const name = `${second}-since-${newest}-nicknames`;
  const newer = await makeRelease({ [name]: EXPAND });
  const before = await start(optionsOf());
  await useAll(before);
  const after = await start(optionsOf(newer, { port: await freePort() }));
  expect(after.stdout).toContain(`"applied":["${name}"]`);
  // Its connections have prepared their statements on the old schema.
  await useAll(before);
  expect(await stop(before)).toBe(0);
  const again = await start(optionsOf());
  expect(again.stdout).toContain(`"migrations":["${name}"]`);
  expect(again.stdout).toContain('"level":"warn"');
  await useAll(again);
  expect(again.stdout).not.toContain('migrations applied');
});

test('contract: what the version before does not use any more may go; the one before that is refused', async () => {
  const expand = { [`${second}-since-${newest}-nicknames`]: EXPAND };
  const contract = `${third}-since-${second}-no-nicknames`;
  const newest3 = await start(optionsOf(await makeRelease({ ...expand, [contract]: CONTRACT })));
  expect(await stop(newest3)).toBe(0);
  const between = await start(optionsOf(await makeRelease(expand)));
  await useAll(between);
  expect(await stop(between)).toBe(0);
  await expectRefused(contract);
});

describe('a newer migration that does not say on which code it was tried', () => {
  test.each(['1', '2'])('ends the start of the version before in plain words (LANYARD_WORKERS=%s)', async (workers) => {
    const name = `${second}-nicknames`;
    const newer = await start(optionsOf(await makeRelease({ [name]: EXPAND })));
    expect(await stop(newer)).toBe(0);
    await expectRefused(name, { LANYARD_WORKERS: workers });
  });

  test('neither does a database serve that has migrations of another line, and lacks some of this one', async () => {
    await withSql((sql) =>
      sql.query('UPDATE knex_migrations SET name = $1 WHERE name LIKE $2', [
        `${second}-since-0001-fork`,
        `${newest}-%`,
      ]),
    );
    await expectRefused(`${second}-since-0001-fork`);
  });
});

async function withSql<T>(work: (sql: pg.Client) => Promise<T>): Promise<T> {
  const sql = new pg.Client(database.connectionString);
  await sql.connect();
  return work(sql).finally(() => sql.end());
}

async function expectRefused(migration: string, env: Record<string, string> = {}): Promise<void> {
  const refused = await launch(optionsOf(undefined, { env }));
  expect(await refused.exited).toEqual({ code: 1, signal: null });
  expect(refused.stderr).toBe(
    `a newer version of Lanyard has migrated the database (${migration}), and this version cannot serve on it. ` +
      'Start the newer version. The way back to this one is a backup from before.\n',
  );
}

test.each(['1', '2'])(
  'a start that waits while another server migrates is ended by SIGTERM (LANYARD_WORKERS=%s)',
  async (workers) => {
    await withSql(async (sql) => {
      await sql.query('DELETE FROM knex_migrations WHERE name LIKE $1', [`${newest}-%`]);
      // The number in database/migrations.ts.
      await sql.query('SELECT pg_advisory_lock(5641389012340001)');
      const waiting = await launch(optionsOf(undefined, { env: { LANYARD_WORKERS: workers } }));
      await until(async () => {
        const { rows } = await sql.query("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
        return rows.length > 0;
      }, 'the wait for the lock');
      waiting.kill('SIGTERM');
      expect(await waiting.exited).toEqual({ code: 0, signal: null });
      expect(waiting.stderr).toBe('\nStopping.\n');
    });
  },
);

/** @returns the tag of the last release before this checkout, where git knows one */
async function lastRelease(): Promise<string | undefined> {
  const found = await run('git', ['describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD'], { cwd: ROOT }).catch(
    () => undefined,
  );
  return found?.stdout.trim();
}

const tag = await lastRelease();
const testRelease = testWhere(tag !== undefined, 'there is no release yet, or not its tag: no code to run');

// Until then the tests above have a copy of this checkout for it.
testRelease(
  `the last release (${tag ?? 'none yet'}) serves on this schema, if the migrations since then say so`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lanyard-release-'));
    folders.push(folder);
    await mkdir(join(folder, 'release'));
    await run('git', ['archive', '--format=tar', `--output=${join(folder, 'release.tar')}`, tag as string], {
      cwd: ROOT,
    });
    await run('tar', ['-xf', join(folder, 'release.tar'), '-C', join(folder, 'release')]);
    await symlink(join(ROOT, 'node_modules'), join(folder, 'release', 'node_modules'));
    const own = (await readdir(join(folder, 'release', 'migrations'))).sort();
    const added = (await readdir(join(ROOT, 'migrations'))).filter((name) => !own.includes(name));
    const mayServe = added.every(
      (name) => (/^\d{4}-since-(\d{4})-/.exec(name)?.[1] ?? '9999') <= (own.at(-1) as string).slice(0, 4),
    );
    const release = await launch(optionsOf(join(folder, 'release', 'src', 'start.mjs')));
    if (!mayServe) {
      expect((await release.exited).code).toBe(1);
      return;
    }
    await release.says('Lanyard is running.');
    await useAll(release);
    expect(await stop(release)).toBe(0);
  },
);
