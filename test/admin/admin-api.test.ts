// Who may call the admin API. An attacker with access to it controls every client and user.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { requestToken, revoke, type TestClient } from '../support/admin.ts';
import { startOtherNode } from '../support/other-node.ts';
import { ADMIN_SECRET, startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';

let server: TestServer;
let audience: string;
let reader: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  audience = `${server.issuer}/admin`;
  reader = await server.admin.createClient();
  await server.admin.allow(reader.clientId, audience, ['admin:read']);
});
afterAll(() => server.stop());

async function knock(token: string | undefined, method = 'GET', path = '/clients', body?: unknown) {
  const response = await fetch(`${server.issuer}/admin/v1${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, challenge: response.headers.get('www-authenticate'), text: await response.text() };
}

async function tokenOf(client: TestClient, form: Record<string, string> = {}): Promise<string> {
  return (await requestToken(server.issuer, client, form)).body.access_token as string;
}

test('no token: 401 with a challenge and without an error code (RFC 6750 §3.1)', async () => {
  // RFC 9728 §5.1
  const metadata = `resource_metadata="${server.issuer}/.well-known/oauth-protected-resource/admin"`;
  const realm = `realm="lanyard-admin", ${metadata}`;
  const challenge = `Bearer ${realm}, DPoP ${realm}, algs="ES256 PS256 Ed25519 EdDSA"`;
  expect(await knock(undefined)).toMatchObject({ status: 401, challenge });
});

test.each(['rubbish', 'a.b.c', 'jwt:a.b.c'])('the token %j: 401', async (token) => {
  expect((await knock(token)).status).toBe(401);
});

test('a reader may read, and gets 403 insufficient_scope where it would change something', async () => {
  const token = await tokenOf(reader);
  expect((await knock(token)).status).toBe(200);
  const refused = await knock(token, 'POST', '/clients', { grant_types: ['client_credentials'] });
  expect(refused.status).toBe(403);
  expect(refused.challenge).toContain('insufficient_scope');
  expect(refused.challenge).toContain('admin:write');
});

test('a DPoP-bound token is accepted with its proof, which can be used once on all nodes (RFC 9449 §11.1)', async () => {
  const key = await newSigner();
  const atToken = await dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  const form = { grant_type: 'client_credentials' };
  const node = await startOtherNode(server);
  const { body } = await node.post('/oauth2/token', reader, form, { dpop: atToken });
  const token = body.access_token as string;
  const ath = createHash('sha256').update(token).digest('base64url');
  const proof = () => dpopProof(key, { htm: 'GET', htu: `${server.issuer}/admin/v1/clients` }, { claims: { ath } });
  const atOther = async (dpop: string) =>
    (await node.get('/admin/v1/clients', { authorization: `DPoP ${token}`, dpop })).status;
  expect(await atOther(await proof())).toBe(200);
  const dpop = await proof();
  const first = await fetch(`${server.issuer}/admin/v1/clients`, { headers: { authorization: `DPoP ${token}`, dpop } });
  // An attacker who has seen both could call the admin API for a minute at each other node.
  expect([first.status, await atOther(dpop)]).toEqual([200, 401]);
  await node.stop();
});

test('a client without a policy row gets no admin token: otherwise any app could register clients', async () => {
  const app = await server.admin.createClient();
  expect((await requestToken(server.issuer, app, { resource: audience })).body.error).toBe('invalid_target');
});

test('a token for another API is refused, even with scopes of the same names', async () => {
  const app = await server.admin.createClient();
  await server.admin.createApi('https://other.example', { scopes: ['admin:read', 'admin:write'] });
  await server.admin.allow(app.clientId, 'https://other.example', ['admin:read', 'admin:write']);
  const refused = await knock(await tokenOf(app));
  expect(refused.status).toBe(401);
  expect(refused.challenge).toContain('invalid_token');
});

test('a removed policy row, a revoked token and a disabled client are refused at once', async () => {
  const path = `/resource-servers/${encodeURIComponent(audience)}/clients/${reader.clientId}`;
  const token = await tokenOf(reader);
  await server.admin.request('DELETE', path);
  expect((await knock(token)).status).toBe(401);
  await server.admin.allow(reader.clientId, audience, ['admin:read']);
  expect((await knock(token)).status).toBe(200);

  await server.admin.request('POST', `/clients/${reader.clientId}/disable`);
  expect((await knock(token)).status).toBe(401);
  await server.admin.request('POST', `/clients/${reader.clientId}/enable`);
  expect((await knock(token)).status).toBe(401);

  const next = await tokenOf(reader);
  expect((await knock(next)).status).toBe(200);
  await revoke(server.issuer, reader, next);
  expect((await knock(next)).status).toBe(401);
});

test('a client cannot disable or remove itself: a script for all clients would lock its operator out', async () => {
  for (const [method, path] of [
    ['DELETE', '/clients/lanyard-admin'],
    ['POST', '/clients/lanyard-admin/disable'],
  ] as const) {
    const { status, body } = await server.admin.request(method, path);
    expect([status, body.code, body.detail]).toEqual([
      409,
      'conflict',
      expect.stringContaining('another admin client'),
    ]);
  }
  expect((await server.admin.request('GET', '/clients/lanyard-admin')).body.disabled).toBe(false);
  // Another admin client may: that is how one is replaced.
  await server.admin.allow(reader.clientId, audience, ['admin:read', 'admin:write']);
  const another = await tokenOf(reader);
  expect((await knock(another, 'POST', '/clients/lanyard-admin/disable')).status).toBe(200);
  expect((await knock(another, 'POST', '/clients/lanyard-admin/enable')).status).toBe(200);
  server.admin.forgetToken();
  await server.admin.allow(reader.clientId, audience, ['admin:read']);
});

test('narrower scopes of a policy row apply at once', async () => {
  await server.admin.allow(reader.clientId, audience, ['admin:read', 'admin:write']);
  const token = await tokenOf(reader);
  const body = { grant_types: ['client_credentials'] };
  expect((await knock(token, 'POST', '/clients', body)).status).toBe(201);
  await server.admin.allow(reader.clientId, audience, ['admin:read']);
  expect((await knock(token, 'POST', '/clients', body)).status).toBe(403);
});

test('the admin API cannot be removed from itself', async () => {
  const answer = await server.admin.request('DELETE', `/resource-servers/${encodeURIComponent(audience)}`);
  expect(answer).toMatchObject({ status: 409, body: { code: 'conflict' } });
});

test('a request for a foreign host is refused: its answers would name an attacker’s addresses', async () => {
  const { request } = await import('node:http');
  const { port } = new URL(server.issuer);
  const status = await new Promise((resolve) => {
    request(
      { port, host: '127.0.0.1', path: '/.well-known/openid-configuration', headers: { host: 'evil.example' } },
      (response) => resolve(response.resume().statusCode),
    ).end();
  });
  expect(status).toBe(421);
});

test('a given admin secret is stored as argon2id, a generated one as SHA-256, neither as plain text', async () => {
  const { rows } = await server.sql.query('SELECT client_id, hash FROM client_secrets');
  expect(rows.find((row) => row.client_id === 'lanyard-admin').hash).toMatch(
    /^\$argon2id\$v=19\$m=19456,(t=2,p=1|p=1,t=2)\$/,
  );
  expect(rows.find((row) => row.client_id === reader.clientId).hash).toMatch(/^sha256\$[\w-]{43}$/);
  expect(JSON.stringify(rows)).not.toContain(ADMIN_SECRET);
});
