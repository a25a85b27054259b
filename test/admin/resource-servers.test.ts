// Resource servers and the policy rows.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await server.admin.createClient();
});
afterAll(() => server.stop());

const request: TestServer['admin']['request'] = (...args) => server.admin.request(...args);
const at = (identifier: string, rest = '') => `/resource-servers/${encodeURIComponent(identifier)}${rest}`;

test.each([
  ['a relative identifier', { identifier: 'api' }],
  ['a fragment', { identifier: 'https://a.example/#x' }],
  ['white space', { identifier: 'https://a.example/ b' }],
  ['a scope with a space', { scopes: ['a b'] }],
  ['a scope twice', { scopes: ['a', 'a'] }],
  ['another format', { access_token_format: 'paseto' }],
  ['an algorithm with a shared secret', { access_token_signing_alg: 'HS256' }],
  ['an algorithm by its former name', { access_token_signing_alg: 'EdDSA' }],
  ['an algorithm that few libraries know', { access_token_signing_alg: 'ML-DSA-44' }],
  ['no algorithm', { access_token_signing_alg: null }],
  ['another type of token', { access_token_typ: 'id+jwt' }],
  ['no type of token', { access_token_typ: '' }],
  ['a lifetime of nothing', { access_token_ttl_seconds: 0 }],
  ['an introspection client that does not exist', { introspection_client_id: 'unknown' }],
  ['a name that hides text', { name: 'Orders\u202e' }],
  ['a description that hides text', { authorization_details_types: { pay: { description: 'Pay\u200b' } } }],
  ['an unknown member', { owner: 'me' }],
])('refuses %s', async (_what, members) => {
  const answer = await request('POST', '/resource-servers', { identifier: 'https://a.example', ...members });
  expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
});

test('an identifier with and without the slash of an empty path is the same API', async () => {
  await server.admin.createApi('https://one.example', { scopes: [] });
  for (const identifier of ['https://one.example', 'https://one.example/']) {
    expect((await request('POST', '/resource-servers', { identifier })).status).toBe(409);
  }
  expect((await request('POST', '/resource-servers', { identifier: 'https://one.example/v1' })).status).toBe(201);
});

test.each([
  ['https://API.example/v1', 'https://api.example/v1'],
  ['https://api.example:443/v1', 'https://api.example/v1'],
  ['HTTPS://api.example', 'https://api.example/'],
  ['https://b\u00fccher.example/v1', 'https://xn--bcher-kva.example/v1'],
  ['https://api.example/v1/../v2', 'https://api.example/v2'],
])('%s is refused: clients that normalise would ask for %s', async (identifier, normal) => {
  const { status, body } = await request('POST', '/resource-servers', { identifier });
  expect([status, body.errors]).toEqual([400, [{ pointer: '/identifier', detail: expect.stringContaining(normal) }]]);
});

test('what is in its normal form is taken, whatever the scheme', async () => {
  for (const identifier of ['urn:example:Api', 'api://Orders', 'https://normal.example:8443/Path?x=1']) {
    expect((await request('POST', '/resource-servers', { identifier })).status).toBe(201);
  }
});

test('an API that was registered in another form before is not registered twice, and found by either', async () => {
  const [former, normal] = ['https://Former.example:443/', 'https://former.example/'];
  const text = `INSERT INTO resource_servers (identifier, normal_identifier, scopes) VALUES ($1, $2, '{}')`;
  await server.sql.query(text, [former, normal]);
  expect((await request('POST', '/resource-servers', { identifier: normal })).status).toBe(409);
  for (const identifier of [former, normal]) {
    expect((await request('GET', at(identifier))).body.identifier).toBe(former);
  }
});

test('a PATCH keeps absent members and removes with null', async () => {
  const identifier = 'https://change.example/path?x=1';
  await server.admin.createApi(identifier, { scopes: ['a'], access_token_ttl_seconds: 60 });
  const renamed = await request('PATCH', at(identifier), { name: 'New' }, { 'if-match': '"1"' });
  expect(renamed.body).toMatchObject({ name: 'New', scopes: ['a'], access_token_ttl_seconds: 60 });
  expect((await request('PATCH', at(identifier), { name: 'Lost' }, { 'if-match': '"1"' })).status).toBe(412);
  const reset = await request('PATCH', at(identifier), { access_token_ttl_seconds: null });
  expect(reset.body).toMatchObject({ name: 'New', access_token_ttl_seconds: null });
  expect((await request('PATCH', at(identifier), { identifier: 'https://b.example' })).status).toBe(400);
});

test('algorithm and type of access tokens: defaults, change, version, audit', async () => {
  const identifier = 'https://signing.example';
  await server.admin.createApi(identifier);
  const before = await request('GET', at(identifier));
  expect(before.body).toMatchObject({ access_token_signing_alg: 'ES256', access_token_typ: 'at+jwt' });
  const change = { access_token_signing_alg: 'RS256', access_token_typ: 'JWT' };
  const changed = await request('PATCH', at(identifier), change, { 'if-match': before.headers.get('etag') as string });
  expect([changed.status, changed.body, changed.headers.get('etag')]).toEqual([
    200,
    expect.objectContaining(change),
    '"2"',
  ]);
  expect((await request('PATCH', at(identifier), { name: 'Signing' })).body).toMatchObject(change);
  expect((await request('GET', '/resource-servers')).body.items).toContainEqual(expect.objectContaining(change));
  await server.admin.createApi('https://signing.example/2', { access_token_typ: 'JWT' });
  const { rows } = await server.sql.query(
    `SELECT type, detail FROM audit_events WHERE detail->>'resource_server' LIKE 'https://signing.example%' ORDER BY id`,
  );
  expect(rows).toEqual([
    { type: 'resource_server.created', detail: { resource_server: identifier } },
    { type: 'resource_server.changed', detail: { resource_server: identifier, ...change } },
    { type: 'resource_server.changed', detail: { resource_server: identifier } },
    {
      type: 'resource_server.created',
      detail: { resource_server: 'https://signing.example/2', access_token_typ: 'JWT' },
    },
  ]);
});

test('an algorithm is taken when there is a published key for it: until then, no token could be signed', async () => {
  const identifier = 'https://keyless.example';
  const register = (id: string) =>
    request('POST', '/resource-servers', { identifier: id, access_token_signing_alg: 'Ed25519' });
  const refusal = await register(identifier);
  expect([refusal.status, refusal.body.errors]).toEqual([
    400,
    [
      {
        pointer: '/access_token_signing_alg',
        detail: expect.stringContaining('POST /admin/v1/keys with {"alg":"Ed25519"}'),
      },
    ],
  ]);
  await server.admin.createApi(identifier);
  const change = () => request('PATCH', at(identifier), { access_token_signing_alg: 'Ed25519' });
  expect((await change()).status).toBe(400);
  const { body: key } = await request('POST', '/keys', { alg: 'Ed25519', published: false });
  expect((await change()).status).toBe(400);
  await request('POST', `/keys/${key.kid}/publish`);
  expect((await change()).body.access_token_signing_alg).toBe('Ed25519');
  expect((await register('https://keyed.example')).status).toBe(201);
});

test('userinfo accepts tokens for an API unless it is registered otherwise', async () => {
  const [open, closed] = ['https://open.example', 'https://closed.example'];
  await server.admin.createApi(open);
  await server.admin.createApi(closed, { userinfo: false });
  for (const [identifier, userinfo] of [[open, true] as const, [closed, false] as const]) {
    expect((await request('GET', at(identifier))).body.userinfo).toBe(userinfo);
    expect((await request('PATCH', at(identifier), { name: 'New' })).body.userinfo).toBe(userinfo);
  }
  const { status, body } = await request('PATCH', at(open), { userinfo: null });
  expect([status, body.errors]).toEqual([400, [{ pointer: '/userinfo', detail: 'must be true or false' }]]);
});

describe('a scope with the name of an OpenID scope', () => {
  const RESERVED = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];

  test.each(RESERVED)(
    '%s is refused where an API is saved: its tokens would carry it without a policy row',
    async (name) => {
      const identifier = `https://${name.replace('_', '-')}.example`;
      const refusal = [400, [{ pointer: '/scopes', detail: expect.stringContaining(`api:${name}`) }]];
      const created = await request('POST', '/resource-servers', { identifier, scopes: ['read', name] });
      expect([created.status, created.body.errors]).toEqual(refusal);
      await server.admin.createApi(identifier, { scopes: ['read'] });
      const changed = await request('PATCH', at(identifier), { scopes: ['read', name] });
      expect([changed.status, changed.body.errors]).toEqual(refusal);
      expect((await request('GET', at(identifier))).body.scopes).toEqual(['read']);
    },
  );

  test('discovery offers no other scope that would have to be reserved', async () => {
    const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect((discovery as { scopes_supported: string[] }).scopes_supported.sort()).toEqual([...RESERVED].sort());
  });

  test('from before they were reserved it stays until it is removed, and each start warns of it', async () => {
    const identifier = 'https://legacy.example';
    const text = `INSERT INTO resource_servers (identifier, scopes) VALUES ($1, '{read,email}')`;
    await server.sql.query(text, [identifier]);
    const warnings = () =>
      server.logLines.filter((line) => line.includes('#reserved-scopes')).map((line) => JSON.parse(line));
    const twin = await server.startTwin();
    await twin.stop();
    expect(warnings()).toEqual([
      expect.objectContaining({ level: 'warn', resource_server: identifier, scopes: ['email'] }),
    ]);
    const renamed = await request('PATCH', at(identifier), { name: 'Legacy', scopes: ['email', 'read', 'write'] });
    expect([renamed.status, renamed.body.scopes]).toEqual([200, ['email', 'read', 'write']]);
    expect((await request('PATCH', at(identifier), { scopes: ['email', 'phone'] })).status).toBe(400);
    expect((await request('PATCH', at(identifier), { scopes: ['read'] })).status).toBe(200);
    expect((await request('PATCH', at(identifier), { scopes: ['read', 'email'] })).status).toBe(400);
  });
});

test('a policy row is set, replaced, read, listed and removed', async () => {
  const identifier = 'https://policy.example';
  await server.admin.createApi(identifier, { scopes: ['read', 'write'] });
  const row = at(identifier, `/clients/${client.clientId}`);
  expect((await request('GET', row)).status).toBe(404);
  expect((await request('PUT', row, { scopes: ['read'] })).status).toBe(201);
  const replaced = await request('PUT', row, { scopes: ['read', 'write'] }, { 'if-match': '"1"' });
  expect([replaced.status, replaced.headers.get('etag'), replaced.body.scopes]).toEqual([
    200,
    '"2"',
    ['read', 'write'],
  ]);
  expect((await request('PUT', row, { scopes: [] }, { 'if-match': '"1"' })).status).toBe(412);
  expect((await request('PUT', row, { scopes: ['admin'] })).body).toMatchObject({ errors: [{ pointer: '/scopes' }] });
  expect((await request('PUT', at(identifier, '/clients/unknown'), { scopes: [] })).status).toBe(404);
  expect((await request('PUT', at('https://nothing.example', '/clients/x'), { scopes: [] })).status).toBe(404);
  expect((await request('GET', at(identifier, '/clients'))).body.items).toHaveLength(1);
  expect((await request('DELETE', row, undefined, { 'if-match': '"1"' })).status).toBe(412);
  expect((await request('DELETE', row)).status).toBe(204);
  expect((await request('DELETE', row)).status).toBe(404);
});
