// Starting and stopping as an operator does it: signals, a second start, and everything that can be in the way of a start. A
// start that fails says why in plain words, ends with a code other than 0 and leaves no PostgreSQL behind.

import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import { createTestDatabase } from '../support/database.ts';
import {
  isAlive,
  type LanyardProcess,
  launch,
  makeHome,
  postmasterOf,
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
}, 60_000);
afterEach(stopAll, 60_000);
afterAll(() => removeHome(home));

async function isPostgresGone(where = home): Promise<boolean> {
  const postmaster = await postmasterOf(where);
  return postmaster === undefined || !(await isAlive(postmaster.pid));
}

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

describe('the first start', () => {
  test('tells issuer, database and, once, the secret of the admin client', async () => {
    const lanyard = await start({ home, port });
    expect(lanyard.stderr).toContain(`issuer    http://localhost:${port}\n`);
    expect(lanyard.stderr).toContain(`database  embedded PostgreSQL in ${join(home, 'data', 'postgres')}\n`);
    expect(lanyard.stderr).toMatch(/client_id +lanyard-admin/);
    adminSecret = lanyard.adminSecret as string;
    expect(await tokenStatus(adminSecret)).toBe(200);
    expect(lanyard.stdout).not.toContain(adminSecret);
    const mode = async (...path: string[]) => (await stat(join(home, 'data', ...path))).mode & 0o777;
    expect(await mode('secret-key')).toBe(0o600);
    expect(await mode()).toBe(0o700);
    expect(await stop(lanyard)).toBe(0);
    expect(await isPostgresGone()).toBe(true);
    expect(await readdir(home)).toEqual(['data']);
  }, 60_000);

  test('the second one shows no secret, and the old one works', async () => {
    const lanyard = await start({ home, port });
    expect(lanyard.stderr).not.toMatch(/secret/i);
    expect(await tokenStatus(adminSecret)).toBe(200);
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(await isPostgresGone()).toBe(true);
  }, 30_000);
});

describe('a stop', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s lets a request that has begun finish',
    async (signal) => {
      const lanyard = await start({ home, port });
      const body = new URLSearchParams({ grant_type: 'client_credentials' }).toString();
      const authorization = `Basic ${Buffer.from(`lanyard-admin:${adminSecret}`).toString('base64')}`;
      const answer = new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
        const headers = {
          authorization,
          'content-type': 'application/x-www-form-urlencoded',
          'content-length': body.length,
        };
        const sent = request({ port, method: 'POST', path: '/oauth2/token', headers }, async (response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          resolve({ status: response.statusCode, text });
        });
        sent.on('error', reject);
        sent.write(body.slice(0, 10));
        // It has begun when the server has seen its headers; the rest follows when the server is stopping.
        void lanyard.says('Stopping').then(async () => {
          await sleep(200);
          sent.end(body.slice(10));
        });
        setTimeout(() => lanyard.kill(signal), 300);
      });
      const { status, text } = await answer;
      expect(status).toBe(200);
      expect(JSON.parse(text)).toHaveProperty('access_token');
      await expect(tokenStatus(adminSecret)).rejects.toThrow('fetch failed');
      expect((await lanyard.exited).code).toBe(0);
      expect(await isPostgresGone()).toBe(true);
    },
    30_000,
  );

  test('by Ctrl-C twice (npm passes on the one of the terminal) is as clean as by once', async () => {
    const lanyard = await start({ home, port });
    lanyard.kill('SIGINT');
    lanyard.kill('SIGTERM');
    expect(await stop(lanyard)).toBe(0);
    expect(await isPostgresGone()).toBe(true);
    expect(lanyard.stderr.match(/Stopping/g)).toHaveLength(1);
  }, 30_000);

  test.each([150, 400, 900, 1500])(
    '%i ms after the start, whatever it is doing then, leaves nothing running',
    async (ms) => {
      const fresh = await makeHome();
      const lanyard = await launch({ home: fresh });
      await sleep(ms);
      lanyard.kill('SIGINT');
      const { code, signal } = await lanyard.exited;
      // Before there is anything to clean up the signal ends it by itself.
      expect([0, null]).toContain(code);
      expect([null, 'SIGINT']).toContain(signal);
      expect(await isPostgresGone(fresh)).toBe(true);
      const again = await start({ home: fresh });
      expect(await stop(again)).toBe(0);
      expect(lanyard.adminSecret ?? again.adminSecret).toBeDefined();
      await removeHome(fresh);
    },
    60_000,
  );
});

describe('a start that fails says why', () => {
  test('another Lanyard runs on the folder', async () => {
    const first = await start({ home, port });
    const { stderr } = await failedStart({}, { port: await freePort() });
    expect(stderr).toBe(`another Lanyard is already running on ${join(home, 'data', 'postgres')}\n`);
    expect(await tokenStatus(adminSecret)).toBe(200);
    expect(await stop(first)).toBe(0);
  }, 30_000);

  test('the port is taken', async () => {
    const neighbour = createServer();
    await new Promise<void>((resolve) => neighbour.listen(port, '127.0.0.1', resolve));
    const { stderr } = await failedStart();
    await new Promise((resolve) => neighbour.close(resolve));
    expect(stderr).toContain(`${port}`);
    expect(stderr).toContain('LANYARD_PORT');
    expect(await isPostgresGone()).toBe(true);
  }, 30_000);

  test('the secret key is another one than the one that sealed the signing keys', async () => {
    const { stderr } = await failedStart({ LANYARD_SECRET_KEY: 'another secret key, which is long enough for one' });
    expect(stderr).toMatch(/LANYARD_SECRET_KEY does not open the signing keys/);
    expect(await isPostgresGone()).toBe(true);
  }, 30_000);

  test('the secret key file was cut short', async () => {
    const path = join(home, 'data', 'secret-key');
    const key = await readFile(path, 'utf8');
    await writeFile(path, key.slice(0, 20));
    const { stderr } = await failedStart().finally(() => writeFile(path, key));
    expect(stderr).toContain(join('data', 'secret-key'));
    expect(stderr).not.toContain(key.slice(0, 20));
  }, 30_000);

  test('DATABASE_URL is set, LANYARD_SECRET_KEY is not', async () => {
    const { stderr } = await failedStart({ DATABASE_URL: 'postgres://x:hidden-password@127.0.0.1:1/x' });
    expect(stderr).toMatch(/LANYARD_SECRET_KEY/);
    expect(stderr).not.toContain('hidden-password');
  });

  // localhost has two addresses on many machines
  test.each(['127.0.0.1', 'localhost'])('nobody listens at DATABASE_URL on %s', async (host) => {
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
  }, 40_000);

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
  }, 30_000);
});

test('with DATABASE_URL that PostgreSQL is used, its password shown nowhere, and no folder is made', async () => {
  const database = await createTestDatabase();
  const elsewhere = await makeHome();
  const { password, host, pathname } = new URL(database.connectionString);
  const lanyard = await start({
    home: elsewhere,
    env: {
      DATABASE_URL: database.connectionString,
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
      LANYARD_LOG_LEVEL: 'trace',
    },
  });
  expect(lanyard.stderr).toContain(`PostgreSQL at ${host}${pathname}`);
  expect(await stop(lanyard)).toBe(0);
  expect(lanyard.stderr + lanyard.stdout).not.toContain(password);
  expect(await readdir(elsewhere)).toEqual([]);
  await database.drop();
  await removeHome(elsewhere);
}, 30_000);
