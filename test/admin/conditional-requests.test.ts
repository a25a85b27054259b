// Conditions at the admin API (RFC 9110 §13): a change of what somebody else has changed meanwhile is refused, and what the caller has
// is not sent again.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://conditions.example';
const AT_API = `/resource-servers/${encodeURIComponent(API)}`;

let server: TestServer;
let request: TestServer['admin']['request'];

beforeAll(async () => {
  server = await startTestServer();
  ({ request } = server.admin);
});
afterAll(() => server.stop());

/** Each kind of resource that has an ETag, at its first version. */
async function resources(): Promise<{ path: string; method: string; change: object }[]> {
  const { clientId } = await server.admin.createClient();
  const userId = await server.admin.createUser(`user-of-${clientId}`, 'correct horse battery');
  await request('DELETE', AT_API);
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(clientId, API, []);
  return [
    { path: `/clients/${clientId}`, method: 'PATCH', change: { client_name: 'New' } },
    { path: `/users/${userId}`, method: 'PATCH', change: { claims: { name: 'New' } } },
    { path: AT_API, method: 'PATCH', change: { name: 'New' } },
    { path: `${AT_API}/clients/${clientId}`, method: 'PUT', change: { scopes: ['read'] } },
  ];
}

describe('a change', () => {
  test.each<[Record<string, string>, boolean]>([
    [{ 'if-match': '"1"' }, true],
    [{ 'if-match': '*' }, true],
    [{ 'if-match': ' "7" , "1"' }, true],
    [{ 'if-match': '"2"' }, false],
    [{ 'if-match': '"7","8"' }, false],
    [{ 'if-match': 'W/"1"' }, false],
    [{ 'if-match': '1' }, false],
    [{ 'if-match': '"1" "2' }, false],
    [{ 'if-match': '"*"' }, false],
    [{ 'if-none-match': '*' }, false],
    [{ 'if-none-match': '"1"' }, false],
    [{ 'if-none-match': 'W/"1"' }, false],
    [{ 'if-none-match': '"2", W/"1"' }, false],
    [{ 'if-none-match': '"2"' }, true],
    [{ 'if-match': '"1"', 'if-none-match': '"2"' }, true],
    [{ 'if-match': '"1"', 'if-none-match': '"1"' }, false],
    [{ 'if-match': '"2"', 'if-none-match': '"2"' }, false],
    [{ 'if-match': '"1"', 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, true],
  ])('with %j: made %s (§13.1.1, §13.1.2, §13.2.2)', async (headers, isMade) => {
    for (const { path, method, change } of await resources()) {
      const before = await request('GET', path);
      const { status, body } = await request(method, path, change, headers);
      expect([path, status]).toEqual([path, isMade ? 200 : 412]);
      const after = await request('GET', path);
      expect(after.headers.get('etag')).toBe(isMade ? '"2"' : '"1"');
      if (!isMade) expect([body.code, after.body]).toEqual(['precondition_failed', before.body]);
    }
  });

  test('of what does not exist: `If-Match: *` makes no policy row, `If-None-Match: *` only a new one', async () => {
    const { clientId } = await server.admin.createClient();
    await request('DELETE', AT_API);
    await server.admin.createApi(API, { scopes: ['read'] });
    const row = `${AT_API}/clients/${clientId}`;
    const put = async (headers: Record<string, string>) => (await request('PUT', row, { scopes: [] }, headers)).status;
    expect([await put({ 'if-match': '*' }), await put({ 'if-match': '"1"' })]).toEqual([412, 412]);
    expect((await request('GET', row)).status).toBe(404);
    expect([await put({ 'if-none-match': '*' }), await put({ 'if-none-match': '*' })]).toEqual([201, 412]);
    // §13.2.1: what would fail anyway fails as without conditions.
    expect((await request('PATCH', '/clients/unknown', {}, { 'if-match': '"1"' })).status).toBe(404);
  });

  test('of what has no ETag is not made for a condition that cannot be true (§13.1.1)', async () => {
    const { clientId } = await server.admin.createClient();
    const revoke = `/clients/${clientId}/revoke-tokens`;
    for (const [method, path] of [
      ['POST', revoke],
      ['POST', '/initial-access-tokens'],
      ['POST', `/clients/${clientId}/secrets`],
    ] as const) {
      const body = path === revoke ? undefined : {};
      expect([path, (await request(method, path, body, { 'if-match': '"1"' })).status]).toEqual([path, 412]);
      expect([path, (await request(method, path, body, { 'if-match': '*' })).status < 300]).toEqual([path, true]);
    }
  });

  test('is made once, of twenty at the same time for the same version', async () => {
    const { clientId } = await server.admin.createClient();
    const change = (name: string) =>
      request('PATCH', `/clients/${clientId}`, { client_name: name }, { 'if-match': '"9", "1"' });
    const statuses = (await Promise.all(Array.from({ length: 20 }, (_, n) => change(String(n))))).map(
      (each) => each.status,
    );
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 412)).toHaveLength(19);
  });
});

test.each<[Record<string, string>, number]>([
  [{ 'if-none-match': '"1"' }, 304],
  [{ 'if-none-match': 'W/"1"' }, 304],
  [{ 'if-none-match': '"7", "1"' }, 304],
  [{ 'if-none-match': '*' }, 304],
  [{ 'if-none-match': '"2"' }, 200],
  [{ 'if-none-match': '1' }, 200],
  [{ 'if-match': '"1"' }, 200],
  [{ 'if-match': '*' }, 200],
  [{ 'if-match': '"2"' }, 412],
  [{ 'if-match': '"2"', 'if-none-match': '"1"' }, 412],
  [{ 'if-match': '"1"', 'if-none-match': '"1"' }, 304],
  [{ 'if-none-match': '"2"', 'if-modified-since': 'Thu, 01 Jan 2099 00:00:00 GMT' }, 200],
])('what is read with %j: %i (§13.2.2)', async (headers, expected) => {
  for (const { path } of await resources()) {
    const answer = await request('GET', path, undefined, headers);
    expect([path, answer.status]).toEqual([path, expected]);
    if (expected !== 304) continue;
    expect([answer.body, answer.headers.get('etag'), answer.headers.get('cache-control')]).toEqual([
      ...[{ text: '' }, '"1"', 'no-store'],
    ]);
  }
});

test('the OpenAPI document names If-Match where it is regarded, and nowhere else', async () => {
  const { body } = await request('GET', '/openapi.json');
  const named = Object.entries(
    body.paths as Record<string, Record<string, { parameters: { name: string }[] }>>,
  ).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, { parameters }]) => parameters.some(({ name }) => name === 'If-Match'))
      .map(([method]) => `${method} ${path}`),
  );
  expect(named.sort()).toEqual([
    'delete /clients/{client_id}',
    'delete /resource-servers/{identifier}',
    'delete /resource-servers/{identifier}/clients/{client_id}',
    'patch /clients/{client_id}',
    'patch /resource-servers/{identifier}',
    'patch /users/{user_id}',
    'post /clients/{client_id}/disable',
    'post /clients/{client_id}/enable',
    'post /users/{user_id}/disable',
    'post /users/{user_id}/enable',
    'put /resource-servers/{identifier}/clients/{client_id}',
  ]);
});
