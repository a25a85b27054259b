// What can prevent a start. A start that fails says why in plain words, exits with a code other than 0 and leaves no PostgreSQL.

import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import {
  isPostgresGone,
  type LanyardProcess,
  launch,
  makeHome,
  removeHome,
  start,
  stop,
  stopAll,
  withDatabase,
} from '../support/process.ts';
import { freePort } from '../support/server.ts';

let home: string;
let port: number;
let adminSecret: string;

beforeAll(async () => {
  home = await makeHome();
  port = await freePort();
  const lanyard = await start({ home, port });
  adminSecret = lanyard.adminSecret as string;
  expect(await stop(lanyard)).toBe(0);
});
afterEach(stopAll);
afterAll(() => removeHome(home));

/** Launched and ended by itself. */
async function failedStart(env: Record<string, string> = {}, options: { port?: number } = {}): Promise<LanyardProcess> {
  const lanyard = await launch({ home, port, env, ...options });
  const { code } = await lanyard.exited;
  expect(code).toBe(1);
  // Plain words: neither a stack nor the rest of the program's inside.
  expect(lanyard.stderr).not.toMatch(/^\s+at |node:internal|Unhandled/m);
  expect(lanyard.stderr.trim()).not.toBe('');
  return lanyard;
}

function tokenStatus(clientSecret: string): Promise<number> {
  const client = { clientId: 'lanyard-admin', clientSecret };
  return requestToken(`http://localhost:${port}`, client).then(({ status }) => status);
}

describe('a start that fails says why', () => {
  test('another Lanyard runs on the folder', async () => {
    const first = await start({ home, port });
    const { stderr } = await failedStart({}, { port: await freePort() });
    expect(stderr).toBe(`another Lanyard is already running on ${join(home, 'data', 'postgres')}\n`);
    expect(await tokenStatus(adminSecret)).toBe(200);
    expect(await stop(first)).toBe(0);
  });

  test('the port is taken', async () => {
    const neighbour = createServer();
    await new Promise<void>((resolve) => neighbour.listen(port, '127.0.0.1', resolve));
    const { stderr } = await failedStart();
    await new Promise((resolve) => neighbour.close(resolve));
    expect(stderr).toContain(`LANYARD_PORT ${port}`);
    expect(stderr).toMatch(new RegExp(`; try LANYARD_PORT=${port + 1}\n$`));
    expect(await isPostgresGone(home)).toBe(true);
  });

  test('the secret key is another one than the one that sealed the signing keys', async () => {
    const { stderr } = await failedStart({ LANYARD_SECRET_KEY: 'another secret key, which is long enough for one' });
    expect(stderr).toMatch(/LANYARD_SECRET_KEY does not decrypt the signing keys/);
    expect(await isPostgresGone(home)).toBe(true);
  });

  test('the secret key file was cut short', async () => {
    const path = join(home, 'data', 'secret-key');
    const key = await readFile(path, 'utf8');
    await writeFile(path, key.slice(0, 20));
    const { stderr } = await failedStart().finally(() => writeFile(path, key));
    expect(stderr).toContain(join('data', 'secret-key'));
    expect(stderr).not.toContain(key.slice(0, 20));
  });

  test('DATABASE_URL is set, LANYARD_SECRET_KEY is not', async () => {
    const { stderr } = await failedStart({ DATABASE_URL: 'postgres://x:hidden-password@127.0.0.1:1/x' });
    expect(stderr).toMatch(/LANYARD_SECRET_KEY/);
    expect(stderr).not.toContain('hidden-password');
  });

  // localhost has two addresses on many machines
  test.each(['127.0.0.1', 'localhost'])('no server listens at DATABASE_URL on %s', async (host) => {
    const env = {
      DATABASE_URL: `postgres://x:hidden-password@${host}:${await freePort()}/x`,
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
    };
    const { stderr } = await failedStart(env);
    expect(stderr).toMatch(/the database cannot be reached: .+/);
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).not.toContain('hidden-password');
  });

  test('the database does not answer: it gives up after a while', async () => {
    const silent = createServer(() => {});
    const silentPort = await freePort();
    await new Promise<void>((resolve) => silent.listen(silentPort, '127.0.0.1', resolve));
    const env = {
      DATABASE_URL: `postgres://x:y@127.0.0.1:${silentPort}/x`,
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
    };
    const { stderr } = await failedStart(env);
    expect(stderr).toMatch(/timeout/);
    silent.close();
  });

  test('a variable that is misspelt', async () => {
    expect((await failedStart({ LANYARD_PROT: '1' })).stderr).toContain('LANYARD_PROT');
  });

  test('and afterwards the ordinary start is as before', async () => {
    const lanyard = await start({ home, port });
    expect(await tokenStatus(adminSecret)).toBe(200);
    const admins = await withDatabase(home, (sql) =>
      sql.query("SELECT 1 FROM clients WHERE client_id = 'lanyard-admin'"),
    );
    expect(admins.rowCount).toBe(1);
    expect(await stop(lanyard)).toBe(0);
  });
});
