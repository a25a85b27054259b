// The development seed, run against a whole server as `npm run seed` runs it.

import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { requestToken } from './support/admin.ts';
import { ADMIN_SECRET, startTestServer, type TestServer } from './support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

function seed(adminSecret: string | undefined): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'seeds', 'development.ts')], {
    // Not where a developer may have an .env.
    cwd: tmpdir(),
    env: {
      PATH: process.env.PATH,
      LANYARD_ISSUER: server.issuer,
      ...(adminSecret === undefined ? {} : { LANYARD_ADMIN_CLIENT_SECRET: adminSecret }),
    },
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  return new Promise((resolve) => child.once('close', (exitCode) => resolve({ exitCode, ...output })));
}

/** The `client_secret` that the seed assigns to a shell variable. */
function secretIn(stdout: string, variable: string): string {
  return new RegExp(`^${variable}='(\\S+)'$`, 'm').exec(stdout)?.[1] ?? '';
}

test('the seed creates apps that work, prints each secret once, and may run again', async () => {
  const first = await seed(ADMIN_SECRET);
  expect(first).toMatchObject({ exitCode: 0 });
  expect(first.stdout).toMatch(/^([A-Z_]+='lys_[\w-]+'\n){4}$/);
  const secret = secretIn(first.stdout, 'REPORTS_SECRET');
  const resource = 'https://billing.example';
  const token = await requestToken(server.issuer, { clientId: 'reports', clientSecret: secret }, { resource });
  expect(token.status).toBe(200);
  const shop = { clientId: 'shop', clientSecret: secretIn(first.stdout, 'SHOP_SECRET') };
  const refused = await requestToken(server.issuer, shop, { resource });
  expect(refused.body.error).toBe('invalid_target');

  const second = await seed(ADMIN_SECRET);
  expect(second).toMatchObject({ exitCode: 0, stdout: '' });
  expect(second.stderr.match(/ exists/g)).toHaveLength(10);
});

test('the seed leaves an API of the same name as it is, and allows only scopes that it has', async () => {
  const orders = '/resource-servers/https%3A%2F%2Forders.example';
  await server.admin.request('DELETE', orders);
  await server.admin.createApi('https://orders.example', { name: 'Older', scopes: ['read'] });
  const { exitCode, stderr } = await seed(ADMIN_SECRET);
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/shop may call https:\/\/orders.example +left out/);
  expect((await server.admin.request('GET', orders)).body).toMatchObject({ name: 'Older', scopes: ['read'] });
  expect((await server.admin.request('GET', `${orders}/clients/shop`)).status).toBe(404);
});

test('the seed says what is missing, and fails', async () => {
  const without = await seed(undefined);
  expect(without).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('set LANYARD_ADMIN_CLIENT_SECRET') });
  const wrong = await seed('a secret of no client');
  expect(wrong).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('401 invalid_client') });
});
