// Starting and stopping as an operator does it: the first start, the second, and signals at any moment.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { runsAtOnce, threadsFor } from '../../src/password-hash.ts';
import { requestToken } from '../support/admin.ts';
import { createTestDatabase } from '../support/database.ts';
import { until } from '../support/patience.ts';
import { beginTokenRequest, isRefused } from '../support/pending-request.ts';
import { isPostgresGone, launch, makeHome, removeHome, start, stop, stopAll } from '../support/process.ts';
import { freePort } from '../support/server.ts';

let home: string;
let port: number;
let adminSecret: string;

beforeAll(async () => {
  home = await makeHome();
  port = await freePort();
});
afterEach(stopAll);
afterAll(() => removeHome(home));

function tokenStatus(clientSecret: string): Promise<number> {
  const client = { clientId: 'lanyard-admin', clientSecret };
  return requestToken(`http://localhost:${port}`, client).then(({ status }) => status);
}

async function countThreads(pid: number, name: string): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const names = await Promise.all(threads.map((id) => readFile(`/proc/${pid}/task/${id}/comm`, 'utf8')));
  return names.filter((found) => found.trim() === name).length;
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
    expect(await isPostgresGone(home)).toBe(true);
    expect(await readdir(home)).toEqual(['data']);
  });

  test('the second one shows no secret, and the old one works', async () => {
    const lanyard = await start({ home, port });
    expect(lanyard.stderr).not.toMatch(/secret/i);
    expect(await tokenStatus(adminSecret)).toBe(200);
    // More than passwords are checked at once: an attacker who guesses passwords must not stop the signing of tokens, also while a
    // write to the log hangs.
    expect(await countThreads(lanyard.pid, 'libuv-worker')).toBe(threadsFor(runsAtOnce(1)));
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(await isPostgresGone(home)).toBe(true);
  });
});

describe('a stop', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'by %s lets a request that has begun finish, and does not wait for another on the same connection',
    async (signal) => {
      const lanyard = await start({ home, port });
      const pending = await beginTokenRequest(port, { clientId: 'lanyard-admin', clientSecret: adminSecret });
      lanyard.kill(signal);
      await until(() => isRefused(port), 'the end of listening');
      const { status, body, connection } = await pending.finish();
      expect(status).toBe(200);
      expect(body).toHaveProperty('access_token');
      expect(connection).toBe('close');
      expect((await lanyard.exited).code).toBe(0);
      expect(await isPostgresGone(home)).toBe(true);
      expect(lanyard.stderr).toMatch(/\nStopping\.\n$/);
      expect(lanyard.stdout).not.toMatch(/"level":"(error|fatal)"/);
    },
  );

  test('by Ctrl-C twice (npm passes on the one of the terminal) is as clean as by once', async () => {
    const lanyard = await start({ home, port });
    lanyard.kill('SIGINT');
    lanyard.kill('SIGTERM');
    expect(await stop(lanyard)).toBe(0);
    expect(await isPostgresGone(home)).toBe(true);
    expect(lanyard.stderr.match(/Stopping/g)).toHaveLength(1);
  });

  const has = (home: string, ...names: string[]) =>
    stat(join(home, 'data', ...names)).then(
      () => true,
      () => false,
    );
  const filesOf = (home: string) => readdir(join(home, 'data', 'postgres')).catch(() => []);
  test.each<[string, (home: string) => boolean | Promise<boolean>]>([
    ['before it has done anything', () => true],
    ['when it has made its folder', (home) => has(home)],
    ['while initdb runs', async (home) => (await filesOf(home)).some((name) => name.startsWith('cluster.new-'))],
    ['when PostgreSQL starts', (home) => has(home, 'postgres', 'cluster', 'postmaster.pid')],
    ['when PostgreSQL runs', (home) => has(home, 'secret-key')],
  ])('%s leaves nothing running', async (moment, isThen) => {
    const fresh = await makeHome();
    const lanyard = await launch({ home: fresh });
    await until(() => isThen(fresh), moment);
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
  });
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
});
