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

function seed(adminSecret: string | undefined): Promise<{ exitCode: number | null; output: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'seeds', 'development.ts')], {
    // Not where a developer may have an .env.
    cwd: tmpdir(),
    env: {
      PATH: process.env.PATH,
      LANYARD_ISSUER: server.issuer,
      ...(adminSecret === undefined ? {} : { LANYARD_ADMIN_CLIENT_SECRET: adminSecret }),
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve) => child.once('close', (exitCode) => resolve({ exitCode, output })));
}

test('the seed makes apps that work, says their secrets once, and may be run again', async () => {
  const first = await seed(ADMIN_SECRET);
  expect(first.exitCode).toBe(0);
  const secret = /client reports +client_secret (\S+)/.exec(first.output)?.[1] ?? '';
  const resource = 'https://billing.example';
  const token = await requestToken(server.issuer, { clientId: 'reports', clientSecret: secret }, { resource });
  expect(token.status).toBe(200);
  const refused = await requestToken(
    server.issuer,
    { clientId: 'shop', clientSecret: /client shop +client_secret (\S+)/.exec(first.output)?.[1] ?? '' },
    { resource },
  );
  expect(refused.body.error).toBe('invalid_target');

  const second = await seed(ADMIN_SECRET);
  expect(second.exitCode).toBe(0);
  expect(second.output).not.toContain('client_secret');
  expect(second.output.match(/was there already/g)).toHaveLength(6);
});

test('the seed says what is missing, and fails', async () => {
  const without = await seed(undefined);
  expect(without).toMatchObject({ exitCode: 1, output: expect.stringContaining('set LANYARD_ADMIN_CLIENT_SECRET') });
  const wrong = await seed('not the secret of anybody');
  expect(wrong).toMatchObject({ exitCode: 1, output: expect.stringContaining('401 invalid_client') });
});
