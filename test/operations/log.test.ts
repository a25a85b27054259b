// The log: configured, redacted, and the only place where the cause of an internal error can be read.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { requestToken, type TestClient } from '../support/admin.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await server.admin.createClient();
  await server.admin.createApi('https://opaque.example', { scopes: ['read'], access_token_format: 'opaque' });
  await server.admin.allow(client.clientId, 'https://opaque.example', ['read']);
});
afterAll(() => server.stop());

function logged(level: string, write: (log: ReturnType<typeof createLog>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLog(level, { write: (line: string) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line));
}

test.each(['password', 'client_secret', 'token', 'code', 'cookie', 'authorization', 'connectionString'])(
  'a member named %s is not written, neither at the top nor one level below',
  (name) => {
    const [line] = logged('info', (log) =>
      log.info({ [name]: 'hush', request: { [name]: 'hush', path: '/x' } }, 'text'),
    );
    expect(JSON.stringify(line)).not.toContain('hush');
    expect(line).toMatchObject({ [name]: '[redacted]', request: { path: '/x' } });
  },
);

test('an error is written with its causes, without what libraries attach to it (pg: the values of a row)', () => {
  const cause = Object.assign(new Error('duplicate key'), {
    code: '23505',
    detail: 'Key (hash)=(hush)',
    where: 'hush',
  });
  const [line] = logged('info', (log) => log.error({ error: new Error('not stored', { cause }) }, 'text'));
  expect(line?.error).toMatchObject({
    message: 'not stored',
    cause: { message: 'duplicate key', error_code: '23505' },
  });
  expect(JSON.stringify(line)).not.toContain('hush');
});

test('the level is that of the configuration', () => {
  const levelsOf = (env: Record<string, string>) =>
    logged(loadConfig(env).logLevel, (log) => {
      for (const level of ['trace', 'debug', 'info', 'warn', 'error'] as const) log[level]('text');
    }).map(({ level }) => level);
  expect(levelsOf({ LANYARD_LOG_LEVEL: 'warn' })).toEqual(['warn', 'error']);
  expect(levelsOf({})).toEqual(['info', 'warn', 'error']);
});

/** Runs `work` while the table is away. */
async function without<T>(table: string, work: () => Promise<T>): Promise<T> {
  await server.sql.query(`ALTER TABLE ${table} RENAME TO gone`);
  try {
    return await work();
  } finally {
    await server.sql.query(`ALTER TABLE gone RENAME TO ${table}`);
  }
}

function linesOf(requestId: string | null): Record<string, unknown>[] {
  return server.logLines.map((line) => JSON.parse(line)).filter((line) => line.request_id === requestId);
}

test.each<[string, string, () => Promise<{ status: number; headers: Headers; body: Record<string, unknown> }>]>([
  ['the admin API', 'audit_events', () => server.admin.request('GET', '/audit-events')],
  ['the token endpoint, while it works', 'client_grants', () => requestToken(server.issuer, client)],
  ['the token endpoint, when it stores', 'oidc_artifacts', () => requestToken(server.issuer, client)],
])(
  'an internal error at %s: the cause goes to the log, the caller learns the request id alone',
  async (_name, table, call) => {
    await server.admin.token();
    const { status, headers, body } = await without(table, call);
    expect(status).toBe(500);
    expect(JSON.stringify(body)).not.toMatch(/relation|does not exist|SELECT|INSERT|\.ts/);
    const requestId = headers.get('x-request-id');
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    const failures = linesOf(requestId).filter(({ level }) => level === 'error');
    expect(failures).toHaveLength(1);
    expect(failures[0]?.error).toMatchObject({
      message: expect.stringContaining(`relation "${table}" does not exist`),
    });
  },
);

test('each request is one line: no query string, no id of a login in its path', async () => {
  const response = await fetch(`${server.issuer}/interaction/an-id-of-a-login?code=hush-code`);
  await response.text();
  const requestLines = () => linesOf(response.headers.get('x-request-id')).filter(({ msg }) => msg === 'request');
  await until(() => requestLines().length > 0, 'the line');
  const requests = requestLines();
  expect(requests).toHaveLength(1);
  expect(requests[0]).toMatchObject({ level: 'info', method: 'GET', path: '/interaction/…', status: 400 });
  expect(server.logLines.join('')).not.toMatch(/hush-code|an-id-of-a-login/);
});
