// What Lanyard counts is what has happened, in a form that Prometheus takes, and nothing in it is a secret. Requests cannot
// add series without bound: each costs memory here and in the monitoring, and an attacker could fill both.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { startSingleProcess } from '../../src/process/single-process.ts';
import { introspect, postForm, requestToken, revoke, type TestClient } from '../support/admin.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  clientToken,
  exchange,
  obtainCode,
  obtainTokens,
  PUBLIC,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { eventually, until } from '../support/patience.ts';
import { ADMIN_SECRET, freePort, SECRET_KEY, startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';

let server: TestServer;
let machine: TestClient;
let app: TestClient;
let publicApp: TestClient;
let reusing: TestClient;
let api: TestClient;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_METRICS_PORT: '0', LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '2' });
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  api = await admin.createClient();
  machine = await admin.createClient();
  app = await admin.createClient(CODE_FLOW);
  publicApp = await admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 0 });
  await admin.createApi(JWT_API, { scopes: ['read'], introspection_client_id: api.clientId });
  await admin.createApi(OPAQUE_API, { scopes: ['read'], access_token_format: 'opaque' });
  reusing = await admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_reuse_in_grace: true });
  for (const client of [machine, app, publicApp, reusing]) await admin.allow(client.clientId, JWT_API, ['read']);
  await admin.allow(machine.clientId, OPAQUE_API, ['read']);
});
afterAll(() => server.stop());

const url = (path: string) => `http://127.0.0.1:${server.metricsPort}${path}`;

async function scrapeText(): Promise<string> {
  const response = await fetch(url('/metrics'));
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}

const scrape = async (): Promise<Exposition> => parseExposition(await scrapeText());

/** @returns how much each of these has grown while `work` ran; what is counted after the answer is waited for */
async function growth(
  counted: readonly (readonly [name: string, labels: Record<string, string>])[],
  work: () => Promise<unknown>,
): Promise<(expected: readonly number[]) => Promise<void>> {
  const before = await scrape();
  await work();
  return (expected) =>
    eventually(async () => {
      const after = await scrape();
      const grown = counted.map(([name, labels]) => after.sum(name, labels) - before.sum(name, labels));
      expect(grown).toEqual(expected);
    });
}

describe('tokens', () => {
  const ISSUED = 'lanyard_tokens_issued_total';

  test('are counted by kind, format, grant type and client', async () => {
    const of = { client_id: machine.clientId, grant_type: 'client_credentials', kind: 'access_token' };
    const grew = await growth(
      [
        [ISSUED, { ...of, format: 'jwt' }],
        [ISSUED, { ...of, format: 'opaque' }],
        [ISSUED, {}],
      ],
      async () => {
        for (let n = 0; n < 3; n++) await clientToken(server, machine, { resource: JWT_API });
        await clientToken(server, machine, { resource: OPAQUE_API });
      },
    );
    await grew([3, 1, 4]);
  });

  test('of a user: the code, then the refresh', async () => {
    const of = { client_id: app.clientId };
    const grew = await growth(
      [
        [ISSUED, { ...of, grant_type: 'authorization_code', kind: 'access_token', format: 'jwt' }],
        [ISSUED, { ...of, grant_type: 'authorization_code', kind: 'refresh_token', format: 'opaque' }],
        [ISSUED, { ...of, grant_type: 'refresh_token', kind: 'access_token', format: 'jwt' }],
        [ISSUED, of],
      ],
      async () => {
        const { refreshToken } = await obtainTokens(server, app, { scope: 'openid read', resource: JWT_API });
        await refresh(server, app, refreshToken, { resource: JWT_API });
      },
    );
    await grew([1, 1, 1, 3]);
  });

  test('that a refused request did not get are not counted', async () => {
    const refused = 'lanyard_refusals_total';
    const grew = await growth(
      [
        [ISSUED, {}],
        [refused, { endpoint: 'token', reason: 'invalid_target' }],
        [refused, { endpoint: 'token', reason: 'invalid_client' }],
        [refused, { endpoint: 'token', reason: 'unsupported_grant_type' }],
        [refused, {}],
      ],
      async () => {
        await requestToken(server.issuer, machine, { resource: 'https://unknown.example' });
        await requestToken(server.issuer, { ...machine, clientSecret: 'wrong' });
        await requestToken(server.issuer, machine, { grant_type: 'password' });
      },
    );
    await grew([0, 1, 1, 1, 3]);
  });

  test('that could not be stored are not counted either', async () => {
    await server.sql.query(
      `CREATE FUNCTION fail() RETURNS trigger AS $$ BEGIN RAISE 'broken'; END $$ LANGUAGE plpgsql`,
    );
    await server.sql.query(`CREATE TRIGGER fail BEFORE INSERT ON oidc_artifacts FOR EACH ROW
                            WHEN (NEW.model = 'RefreshToken') EXECUTE FUNCTION fail()`);
    const issued = await obtainCode(server, app, { scope: 'openid read', resource: JWT_API });
    const grew = await growth(
      [
        [ISSUED, {}],
        ['lanyard_refusals_total', { endpoint: 'token', reason: 'server_error' }],
      ],
      async () => expect((await exchange(server, app, issued)).status).toBe(500),
    );
    await server.sql.query('DROP TRIGGER fail ON oidc_artifacts');
    await grew([0, 1]);
  });

  test('that are revoked, and those that are used twice', async () => {
    const REPLAYS = 'lanyard_token_replays_total';
    const grew = await growth(
      [
        ['lanyard_tokens_revoked_total', { kind: 'access_token', format: 'jwt' }],
        ['lanyard_tokens_revoked_total', { kind: 'access_token', format: 'opaque' }],
        [REPLAYS, { grant_type: 'refresh_token' }],
        [REPLAYS, { grant_type: 'authorization_code' }],
        ['lanyard_refusals_total', { endpoint: 'token', reason: 'invalid_grant' }],
        ['lanyard_refresh_token_reuses_total', {}],
      ],
      async () => {
        await revoke(server.issuer, machine, await clientToken(server, machine, { resource: OPAQUE_API }));
        // A token of another client: nothing happens (RFC 7009).
        await revoke(server.issuer, api, await clientToken(server, machine, { resource: OPAQUE_API }));
        const issued = await obtainCode(server, publicApp, { scope: 'openid read', resource: JWT_API });
        const { refreshToken } = toTokens(await exchange(server, publicApp, issued));
        await refresh(server, publicApp, refreshToken);
        await refresh(server, publicApp, refreshToken);
        const kind = await obtainCode(server, reusing, { scope: 'openid read', resource: JWT_API });
        const reused = toTokens(await exchange(server, reusing, kind)).refreshToken;
        await refresh(server, reusing, reused);
        await refresh(server, reusing, reused);
        const again = await obtainCode(server, app, { scope: 'openid read', resource: JWT_API });
        await exchange(server, app, again);
        await exchange(server, app, again);
      },
    );
    await grew([0, 1, 1, 1, 2, 1]);
  });
});

test('introspections are counted by outcome, which the caller is not told', async () => {
  const NAME = 'lanyard_introspections_total';
  const token = await clientToken(server, machine, { resource: JWT_API });
  const doomed = await server.admin.createClient();
  await server.admin.allow(doomed.clientId, JWT_API, ['read']);
  const orphan = await clientToken(server, doomed, { resource: JWT_API });
  await server.admin.request('POST', `/clients/${doomed.clientId}/disable`);
  const grew = await growth(
    [
      ...['active', 'unknown', 'not_permitted', 'inactive'].map((outcome) => [NAME, { outcome }] as const),
      [NAME, {}],
      ['lanyard_refusals_total', { endpoint: 'introspection', reason: 'invalid_client' }],
    ],
    async () => {
      await introspect(server.issuer, machine, token);
      await introspect(server.issuer, api, token);
      await introspect(server.issuer, api, 'unknown');
      await introspect(server.issuer, app, token);
      await introspect(server.issuer, api, orphan);
      await introspect(server.issuer, { ...api, clientSecret: 'wrong' }, token);
    },
  );
  await grew([2, 1, 1, 1, 5, 1]);
});

test('logins are counted by outcome', async () => {
  await server.admin.createUser('bob', 'another pass phrase');
  const guess = async (password: string) => {
    const agent = createUserAgent(server.issuer);
    const page = await agent.visit(
      authorizationUrl(server.issuer, {
        client_id: app.clientId,
        code_challenge: pkcePair().challenge,
        code_challenge_method: 'S256',
      }),
    );
    await agent.submit(formAction(page.html, 'login'), { username: 'bob', password });
  };
  const grew = await growth(
    ['succeeded', 'failed', 'throttled'].map((outcome) => ['lanyard_logins_total', { outcome }] as const),
    async () => {
      await guess('another pass phrase');
      for (let n = 0; n < 3; n++) await guess('wrong');
    },
  );
  await grew([1, 2, 1]);
});

test('refusals of the admin API and of userinfo are counted by endpoint', async () => {
  const grew = await growth(
    [
      ['lanyard_refusals_total', { endpoint: 'admin', reason: 'missing_token' }],
      ['lanyard_refusals_total', { endpoint: 'admin', reason: 'invalid_token' }],
      ['lanyard_refusals_total', { endpoint: 'userinfo', reason: 'invalid_token' }],
    ],
    async () => {
      await fetch(`${server.issuer}/admin/v1/clients`);
      await fetch(`${server.issuer}/admin/v1/clients`, { headers: { authorization: 'Bearer x' } });
      await userinfo(server, 'unknown');
    },
  );
  await grew([1, 1, 1]);
});

describe('requests', () => {
  const COUNT = 'lanyard_http_request_duration_seconds_count';

  test('are timed by endpoint and class of status', async () => {
    const grew = await growth(
      [
        [COUNT, { endpoint: 'token', status: '2xx' }],
        [COUNT, { endpoint: 'token', status: '4xx' }],
        [COUNT, { endpoint: 'jwks', status: '2xx' }],
        [COUNT, { endpoint: 'discovery', status: '2xx' }],
        [COUNT, { endpoint: 'health', status: '2xx' }],
        [COUNT, { endpoint: 'admin', status: '4xx' }],
        [COUNT, { endpoint: 'other', status: '4xx' }],
        [COUNT, {}],
      ],
      async () => {
        await clientToken(server, machine, { resource: JWT_API });
        await requestToken(server.issuer, { ...machine, clientSecret: 'wrong' });
        const paths = ['/oauth2/jwks', '/.well-known/openid-configuration', '/health/live', '/admin/v1/x', '/nowhere'];
        for (const path of paths) await (await fetch(server.issuer + path)).text();
      },
    );
    await grew([1, 1, 1, 1, 1, 1, 1, 7]);
  });

  test('whose caller closed the connection before the answer have a status of their own', async () => {
    const grew = await growth(
      [
        [COUNT, { endpoint: 'token', status: 'aborted' }],
        [COUNT, {}],
      ],
      async () => {
        const socket = connect(Number(new URL(server.issuer).port), '127.0.0.1');
        const { host } = new URL(server.issuer);
        const type = 'application/x-www-form-urlencoded';
        // "100 Continue" says that the server has read the head.
        const head = `Host: ${host}\r\nContent-Type: ${type}\r\nContent-Length: 99\r\nExpect: 100-continue`;
        socket.write(`POST /oauth2/token HTTP/1.1\r\n${head}\r\n\r\n`);
        await once(socket, 'data');
        socket.write('a');
        socket.destroy();
      },
    );
    await grew([1, 1]);
  });

  test('in seconds', async () => {
    const before = await scrape();
    const startedAt = performance.now();
    for (let n = 0; n < 5; n++) await clientToken(server, machine, { resource: JWT_API });
    const tookSeconds = (performance.now() - startedAt) / 1000;
    const sum = (await scrape()).sum('lanyard_http_request_duration_seconds_sum', { endpoint: 'token' });
    const grown = sum - before.sum('lanyard_http_request_duration_seconds_sum', { endpoint: 'token' });
    expect(grown).toBeGreaterThan(0.001);
    expect(grown).toBeLessThan(tookSeconds);
  });
});

test('the machinery is asked at each scrape, and what is not there is not shown as 0', async () => {
  const now = await scrape();
  const connections = now.sum('lanyard_database_pool_busy') + now.sum('lanyard_database_pool_idle');
  expect(connections).toBeGreaterThan(0);
  expect(connections).toBeLessThanOrEqual(10);
  expect(now.sum('lanyard_database_pool_limit')).toBe(10);
  expect(now.value('lanyard_change_feed_connected')).toBe(1);
  expect(now.value('lanyard_change_feed_notifications_total')).toBeGreaterThan(0);
  expect(now.value('lanyard_store_batch_size_count', { operation: 'commit' })).toBeGreaterThan(0);
  expect(now.value('lanyard_store_queue_depth', { queue: 'commit' })).toBe(0);
  expect(now.value('lanyard_cache_requests_total', { cache: 'client', result: 'hit' })).toBeGreaterThan(0);
  const names = new Set(now.samples.map(({ name }) => name));
  for (const name of ['lanyard_database_pool_waiting', 'lanyard_argon2_running', 'lanyard_argon2_waiting']) {
    expect([...names]).toContain(name);
  }
  expect(now.value('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  for (const [name] of now.types) expect(name).toMatch(/^(lanyard|process|nodejs)_/);
});

test('passwords that are being hashed show up', async () => {
  const users = Promise.all(
    Array.from({ length: 12 }, (_, n) => server.admin.createUser(`crowd-${n}`, 'one of many passwords')),
  );
  await until(
    async () => (await scrape()).value('lanyard_argon2_running', { queue: 'users' }) > 0,
    'a password that is being hashed',
  );
  await users;
  expect((await scrape()).sum('lanyard_argon2_running')).toBe(0);
});

test('nothing secret is in it: no token, no secret, no name of a user, nothing that a caller made up', async () => {
  const { accessToken, refreshToken } = await obtainTokens(server, app, { scope: 'openid read', resource: JWT_API });
  const opaque = await clientToken(server, machine, { resource: OPAQUE_API });
  await introspect(server.issuer, machine, opaque);
  await requestToken(server.issuer, { clientId: 'made-up-client', clientSecret: 'made-up-secret' });
  await fetch(`${server.issuer}/made-up-path?token=made-up-query`);
  const text = await scrapeText();
  for (const secret of [accessToken, refreshToken, opaque, machine.clientSecret, ADMIN_SECRET, ALICE.username]) {
    expect(text).not.toContain(secret);
  }
  expect(text).not.toContain('made-up');
});

test('a flood of invented paths, methods, clients, grant types and errors makes no new series', async () => {
  const flood = async (round: string) => {
    for (let n = 0; n < 40; n++) {
      const junk = `${round}-${n}-${Math.random().toString(36).slice(2)}`;
      const junkClient = { clientId: junk, clientSecret: junk };
      const answers = [
        fetch(`${server.issuer}/${junk}`),
        fetch(`${server.issuer}/__proto__`),
        fetch(`${server.issuer}/constructor/${junk}`),
        fetch(`${server.issuer}/oauth2/${junk}`),
        fetch(`${server.issuer}/admin/v1/${junk}`),
        fetch(`${server.issuer}/interaction/${junk}/${junk}`),
        fetch(`${server.issuer}/oauth2/authorize/${junk}`),
        fetch(`${server.issuer}/oauth2/authorize?client_id=${junk}&error=${junk}`),
        fetch(`${server.issuer}/oauth2/token`, { method: 'PROPFIND' }),
      ].map(async (answer) => (await answer).text());
      await Promise.all([
        ...answers,
        requestToken(server.issuer, junkClient),
        requestToken(server.issuer, machine, { grant_type: junk }),
        introspect(server.issuer, junkClient, junk),
        introspect(server.issuer, machine, junk),
        postForm(`${server.issuer}/oauth2/revoke`, machine, { token: junk, token_type_hint: junk }),
        userinfo(server, junk),
      ]);
    }
  };
  // The first round finds the series of such requests, the second only series that exist.
  await flood('first');
  const before = await scrape();
  await flood('second');
  const after = await scrape();
  // nodejs_active_resources and the like come and go with the machine, and the first sweep brings series of its own.
  const ours = ({ samples }: Exposition) =>
    samples
      .filter(({ name }) => name.startsWith('lanyard_') && !name.startsWith('lanyard_prune_'))
      .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`);
  expect(ours(after).sort()).toEqual(ours(before).sort());
});

describe('the listener', () => {
  test.each([
    ['GET', '/', 404],
    ['GET', '/metrics/', 404],
    ['GET', '/health/live', 404],
    ['GET', '/oauth2/jwks', 404],
    ['POST', '/oauth2/token', 404],
    ['GET', '/admin/v1/clients', 404],
    ['POST', '/metrics', 405],
    ['DELETE', '/metrics', 405],
  ])('%s %s is %i: it serves nothing but metrics', async (method, path, status) => {
    const response = await fetch(url(path), { method });
    expect([response.status, await response.text()]).toEqual([status, '']);
  });

  test('is the only place: the public port knows no /metrics, so the ids of clients stay inside', async () => {
    expect((await fetch(`${server.issuer}/metrics`)).status).toBe(404);
  });

  test('stops with the server', async () => {
    const other = await startTestServer({ LANYARD_METRICS_PORT: '0' });
    const there = `http://127.0.0.1:${other.metricsPort}/metrics`;
    expect((await fetch(there)).status).toBe(200);
    await other.stop();
    await expect(fetch(there)).rejects.toThrow();
  });

  test('a port that is taken stops the start, with the name of the variable', async () => {
    const port = await freePort();
    const neighbour = createServer();
    await new Promise<void>((resolve) => neighbour.listen(port, '127.0.0.1', resolve));
    const { connectionString } = server;
    const config = loadConfig({ LANYARD_PORT: String(await freePort()), LANYARD_METRICS_PORT: String(port) });
    const start = () =>
      startSingleProcess({ config, connectionString, secretKey: SECRET_KEY, log: createLog('silent') });
    await expect(start()).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(`LANYARD_METRICS_PORT ${port}: listen EADDRINUSE`),
    });
    await new Promise((resolve) => neighbour.close(resolve));
  });
});

test('on the public port when asked for, and no listener of its own then', async () => {
  const open = await startTestServer({ LANYARD_METRICS_ON_PUBLIC_PORT: 'true' });
  try {
    expect(open.metricsPort).toBeUndefined();
    const response = await fetch(`${open.issuer}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const { types } = parseExposition(await response.text());
    expect(types.get('lanyard_tokens_issued_total')).toBe('counter');
    expect((await fetch(`${open.issuer}/metrics`, { method: 'POST' })).status).toBe(405);
  } finally {
    await open.stop();
  }
});
