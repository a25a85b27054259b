// client_credentials (RFC 6749 §4.4): the policy row determines API, scopes, format and lifetime.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { ClientSecretPost, clientCredentialsGrant } from 'openid-client';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { honest } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';
const BILLING = 'https://billing.example/v1';
const VAULT = 'https://vault.example';

let server: TestServer;
/** may call orders */
let one: TestClient;
/** may call orders, billing and the vault */
let several: TestClient;
let none: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createApi(ORDERS, { scopes: ['read', 'write', 'delete'] });
  await admin.createApi(BILLING, { scopes: ['pay'], access_token_ttl_seconds: 77 });
  await admin.createApi(VAULT, { scopes: ['open'], access_token_format: 'opaque', access_token_ttl_seconds: 33 });
  [one, several, none] = [await admin.createClient(), await admin.createClient(), await admin.createClient()];
  await admin.allow(one.clientId, ORDERS, ['read', 'write']);
  await admin.allow(several.clientId, ORDERS, ['read']);
  await admin.allow(several.clientId, BILLING, ['pay']);
  await admin.allow(several.clientId, VAULT, ['open']);
});
afterAll(() => server.stop());

test('an app with openid-client gets a token for the API that it names', async () => {
  const app = await honest(server, one);
  const tokens = await clientCredentialsGrant(app, { resource: ORDERS, scope: 'read' });
  expect(tokens).toMatchObject({ token_type: 'bearer', scope: 'read', expires_in: 600 });
  expect(decodeProtectedHeader(tokens.access_token)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' });
  expect(decodeJwt(tokens.access_token)).toMatchObject({
    iss: server.issuer,
    aud: ORDERS,
    sub: one.clientId,
    client_id: one.clientId,
    azp: one.clientId,
    scope: 'read',
  });
});

test('client_secret_post works for a client that is registered with it', async () => {
  const client = await server.admin.createClient({
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'client_secret_post',
  });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  const app = await honest(server, client, ClientSecretPost(client.clientSecret));
  expect((await clientCredentialsGrant(app)).scope).toBe('read');
});

describe('which API', () => {
  test('a client with one grant may leave resource out', async () => {
    const { status, body } = await requestToken(server.issuer, one);
    expect(status).toBe(200);
    expect(decodeJwt(body.access_token as string).aud).toBe(ORDERS);
  });

  test('a client with several must name one, and the error text says so (RFC 8707 §2)', async () => {
    const { status, body } = await requestToken(server.issuer, several);
    expect([status, body.error]).toEqual([400, 'invalid_target']);
    expect(body.error_description).toMatch(/name one/);
  });

  test.each([
    ['a client without any grant', () => none, {}],
    ['a client without any grant, for an API that exists', () => none, { resource: ORDERS }],
    ['an API that is not registered', () => one, { resource: 'https://unknown.example' }],
    ['an API that the client may not call', () => one, { resource: BILLING }],
    ['an identifier with a registered one as its prefix', () => one, { resource: `${ORDERS}/v2` }],
    ['a fragment', () => one, { resource: `${ORDERS}#x` }],
    ['not a URI', () => one, { resource: 'orders' }],
    ['an empty resource, which counts as left out (RFC 6749 §3.2)', () => several, { resource: '' }],
    ['a NUL in it', () => one, { resource: `${ORDERS}\0` }],
  ])('%s: invalid_target', async (_name, client, form) => {
    const answer = await requestToken(server.issuer, client(), form as Record<string, string>);
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target']);
    expect(answer.body).not.toHaveProperty('access_token');
  });

  test('a client that may not call an API does not learn whether it exists', async () => {
    const exists = await requestToken(server.issuer, one, { resource: BILLING });
    const unknown = await requestToken(server.issuer, one, { resource: 'https://unknown.example' });
    expect(exists.body).toEqual(unknown.body);
  });

  test('two APIs in one request: a token must have one audience', async () => {
    const form = new URLSearchParams([
      ['grant_type', 'client_credentials'],
      ['resource', ORDERS],
      ['resource', BILLING],
    ]);
    const { status, body } = await postForm(`${server.issuer}/oauth2/token`, several, form);
    expect([status, body.error]).toEqual([400, 'invalid_target']);
  });

  test('the trailing slash of an empty path is ignored; the token has the registered identifier', async () => {
    const { body } = await requestToken(server.issuer, one, { resource: `${ORDERS}/` });
    expect(decodeJwt(body.access_token as string).aud).toBe(ORDERS);
  });
});

describe('which scopes', () => {
  test('without scope the client gets all scopes of its grant, and no others', async () => {
    expect((await requestToken(server.issuer, one)).body.scope).toBe('read write');
  });

  test('a client may request fewer', async () => {
    const { body } = await requestToken(server.issuer, one, { scope: 'write' });
    expect(body.scope).toBe('write');
    expect(decodeJwt(body.access_token as string).scope).toBe('write');
  });

  test('a scope of the API that the client was not granted is left out (RFC 6749 §3.3)', async () => {
    const { body } = await requestToken(server.issuer, one, { resource: ORDERS, scope: 'read delete' });
    expect(body.scope).toBe('read');
    expect(decodeJwt(body.access_token as string).scope).toBe('read');
  });

  test('only scopes that it was not granted: invalid_scope', async () => {
    for (const scope of ['delete', 'openid', 'pay', 'unknown']) {
      const { status, body } = await requestToken(server.issuer, one, { scope });
      expect([scope, status, body.error]).toEqual([scope, 400, 'invalid_scope']);
    }
  });

  test('a NUL or a quote in scope: invalid_scope', async () => {
    for (const scope of ['re\0ad', 're"ad', 're\\ad']) {
      const { status, body } = await requestToken(server.issuer, one, { scope });
      expect([status, body.error]).toEqual([400, 'invalid_scope']);
    }
  });
});

describe('which token', () => {
  test('each API has its own lifetime', async () => {
    const { body } = await requestToken(server.issuer, several, { resource: BILLING });
    const { exp = 0, iat = 0 } = decodeJwt(body.access_token as string);
    expect([body.expires_in, exp - iat]).toEqual([77, 77]);
  });

  test('an API may want opaque tokens', async () => {
    const { body } = await requestToken(server.issuer, several, { resource: VAULT });
    expect(body).toMatchObject({ token_type: 'Bearer', scope: 'open', expires_in: 33 });
    expect(body.access_token).toMatch(/^lyc_[\w-]{43}$/); // 256 random bits
  });

  test('no refresh token and no ID token (RFC 6749 §4.4.3)', async () => {
    const { body } = await requestToken(server.issuer, one);
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
  });

  test('the response must not be cached (RFC 6749 §5.1)', async () => {
    expect((await requestToken(server.issuer, one)).headers.get('cache-control')).toMatch(/no-store/);
  });
});
