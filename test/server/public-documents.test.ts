// Discovery, keys, metadata of the admin API, liveness: answered from memory, with the bytes and the
// headers that the engine's own pipeline would send. A query sends a request to that pipeline.

import { type IncomingHttpHeaders, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { engineRequestCount } from '../support/both-ways.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const MTLS_ORIGIN = 'https://mtls.example';
const [OPENID, OAUTH] = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];
const JWKS = '/oauth2/jwks';
const ADMIN = '/.well-known/oauth-protected-resource/admin';
const LIVE = '/health/live';
const ENGINE_DOCUMENTS = [OPENID, OAUTH, JWKS];
const CACHED = [...ENGINE_DOCUMENTS, ADMIN];

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({
    LANYARD_CLIENT_CERTIFICATE_HEADER: 'x-client-certificate',
    LANYARD_TRUST_PROXY: '127.0.0.1',
    LANYARD_MTLS_ORIGIN: MTLS_ORIGIN,
    LANYARD_METRICS_ON_PUBLIC_PORT: 'true',
  });
  await server.admin.createApi('https://bank.example', {
    authorization_details_types: { überweisung: { description: 'Pay', schema: { type: 'object' } } },
  });
});
afterAll(() => server.stop());

interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly names: readonly string[];
  readonly body: string;
}

/** `fetch` would choose Host and Origin by itself, and hide the length. */
function send(path: string, options: { method?: string; headers?: Record<string, string> } = {}): Promise<Received> {
  return new Promise((resolve, reject) => {
    const sent = request(server.issuer + path, options, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      const { statusCode = 0, headers, rawHeaders } = response;
      const names = rawHeaders.filter((_, index) => index % 2 === 0);
      resolve({ status: statusCode, headers, names, body: Buffer.concat(chunks).toString() });
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe.each(ENGINE_DOCUMENTS)('%s', (path) => {
  const own = ['cache-control', 'etag'];

  function comparable({ status, headers, names, body }: Received) {
    const { date, 'x-request-id': id, 'cache-control': cached, etag, ...others } = headers;
    expect([date, id]).toEqual([expect.any(String), expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    return { status, headers: others, names: names.filter((name) => !own.includes(name.toLowerCase())).sort(), body };
  }

  test.each<[string, { method?: string; headers?: Record<string, string> }]>([
    ['a plain request', {}],
    ['HEAD', { method: 'HEAD' }],
    ['a browser app', { headers: { origin: 'https://app.example' } }],
    ['an empty Origin', { headers: { origin: '' } }],
    ['one that prefers HTML', { headers: { accept: 'text/html' } }],
    ['one that sends a cookie and a token', { headers: { cookie: 'a=b', authorization: 'Bearer x' } }],
    ['a client with certificates, at its origin', { headers: { host: new URL(MTLS_ORIGIN).host } }],
  ])('%s gets what the engine itself would answer, without passing the engine', async (_name, options) => {
    const before = engineRequestCount();
    const answer = await send(path, options);
    expect(engineRequestCount()).toBe(before);
    const byEngine = await send(`${path}?by=engine`, options);
    expect(engineRequestCount()).toBe(before + 1);
    expect(comparable(answer)).toEqual(comparable(byEngine));
    expect(answer.status).toBe(200);
    expect(answer.headers['content-length']).toMatch(/^\d{3,}$/);
  });

  test.each<[string, { method?: string; headers?: Record<string, string> }]>([
    ['POST', { method: 'POST' }],
    ['DELETE', { method: 'DELETE' }],
    ['OPTIONS', { method: 'OPTIONS' }],
    [
      'a preflight',
      { method: 'OPTIONS', headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' } },
    ],
    ['a body', { headers: { 'content-length': '0' } }],
  ])('%s is left to the engine', async (_name, options) => {
    const before = engineRequestCount();
    const { status, headers } = await send(path, options);
    expect(engineRequestCount()).toBe(before + 1);
    if (path === JWKS && options.method === 'POST') expect([status, headers.allow]).toEqual([405, 'GET']);
    if (headers['access-control-allow-methods'] !== undefined) expect(status).toBe(204);
  });
});

test('the server itself says what its admin API accepts (RFC 9728 §3.2)', async () => {
  const { status, body } = await send(ADMIN);
  expect([status, JSON.parse(body)]).toMatchObject([
    200,
    {
      resource: `${server.issuer}/admin`,
      authorization_servers: [server.issuer],
      scopes_supported: ['admin:read', 'admin:write'],
    },
  ]);
});

test('liveness is not stored by caches, has no tag, and is the same by another path', async () => {
  const plain = await send(LIVE, { headers: { host: '192.0.2.1', 'if-none-match': '*' } });
  expect([plain.status, plain.body]).toEqual([200, '{"status":"live"}']);
  expect([plain.headers['cache-control'], plain.headers.etag]).toEqual(['no-store', undefined]);
  const byApp = await send(`${LIVE}?x`);
  expect([byApp.body, [...byApp.names].sort()]).toEqual([plain.body, [...plain.names].sort()]);
  expect((await send(LIVE, { method: 'POST' })).headers.allow).toBe('HEAD, GET');
});

test('a request for another server gets no document of ours', async () => {
  for (const path of CACHED) {
    expect([path, (await send(path, { headers: { host: 'evil.example' } })).status]).toEqual([path, 421]);
  }
});

describe.each(CACHED)('%s, to a client that has it (RFC 9110 §13.1.2)', (path) => {
  test('is not sent again', async () => {
    const whole = await send(path);
    const tag = whole.headers.etag as string;
    expect(tag).toMatch(/^"[\w-]{22}"$/);
    for (const known of [tag, `W/${tag}`, `"a, b", W/"x",${tag}`, '*', ' * ']) {
      for (const method of ['GET', 'HEAD']) {
        const { status, headers, body } = await send(path, { method, headers: { 'if-none-match': known } });
        expect([known, status, body]).toEqual([known, 304, '']);
        const { date, 'x-request-id': id, 'content-type': type, 'content-length': length, ...others } = whole.headers;
        expect(headers).toMatchObject(others);
      }
    }
  });

  test('is sent if it has another one', async () => {
    const tag = (await send(path)).headers.etag as string;
    for (const known of [
      '',
      '"x"',
      tag.replaceAll('"', ''),
      tag.toLowerCase(),
      `"${tag.slice(2)}`,
      '"*"',
      'W/"x", "y"',
    ]) {
      expect([known, (await send(path, { headers: { 'if-none-match': known } })).status]).toEqual([known, 200]);
    }
  });

  test('is not sent if it has become another one (§13.1.1), which no cache may keep', async () => {
    const tag = (await send(path)).headers.etag as string;
    for (const [headers, expected] of [
      [{ 'if-match': tag }, 200],
      [{ 'if-match': `"x", ${tag}` }, 200],
      [{ 'if-match': '*' }, 200],
      [{ 'if-match': tag, 'if-none-match': tag }, 304],
      [{ 'if-match': '"x"' }, 412],
      [{ 'if-match': `W/${tag}` }, 412],
      [{ 'if-match': '"x"', 'if-none-match': tag }, 412],
    ] as const) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await send(path, { method, headers });
        expect([headers, answer.status]).toEqual([headers, expected]);
        if (expected === 412) expect(answer.headers['cache-control']).toBe('no-store');
      }
    }
  });

  test('may be kept for a minute, which is less than a key is published before it signs', async () => {
    expect((await send(path)).headers['cache-control']).toBe('public, max-age=60');
    expect(server.config.keySchedule.publishAheadSeconds).toBeGreaterThan(60);
  });
});

test('each of them is logged and counted like every request', async () => {
  const counted = async (endpoint: string) => {
    const { body } = await send('/metrics');
    const sample = `lanyard_http_request_duration_seconds_count{endpoint="${endpoint}",status="2xx"} `;
    return Number(
      body
        .split('\n')
        .find((line) => line.startsWith(sample))
        ?.slice(sample.length) ?? 0,
    );
  };
  for (const [path, endpoint] of [
    [OPENID, 'discovery'],
    [OAUTH, 'discovery'],
    [ADMIN, 'discovery'],
    [JWKS, 'jwks'],
    [LIVE, 'health'],
  ] as const) {
    const before = await counted(endpoint);
    const { headers } = await send(path);
    await until(async () => (await counted(endpoint)) === before + 1, `a request counted for ${path}`);
    const line = server.logLines
      .map((each) => JSON.parse(each))
      .find((each) => each.request_id === headers['x-request-id']);
    expect(line).toMatchObject({ method: 'GET', path, status: 200, duration_ms: expect.any(Number) });
  }
});

test('without publishing keys ahead, a cache must ask each time', async () => {
  const hasty = await startTestServer({ LANYARD_KEY_PUBLISH_AHEAD_HOURS: '0' });
  try {
    expect((await fetch(hasty.issuer + JWKS)).headers.get('cache-control')).toBe('no-cache');
  } finally {
    await hasty.stop();
  }
});
