// Requests that the introspection endpoint refuses.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { introspect, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { clientToken, INACTIVE } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let ordersApi: TestClient;
let token: string;

beforeAll(async () => {
  server = await startTestServer();
  ordersApi = await server.admin.createClient();
  const app = await server.admin.createClient();
  await server.admin.createApi(ORDERS, { scopes: ['read'], introspection_client_id: ordersApi.clientId });
  await server.admin.allow(app.clientId, ORDERS, ['read']);
  token = await clientToken(server, app);
  expect((await introspect(server.issuer, ordersApi, token)).body.active).toBe(true);
});
afterAll(() => server.stop());

describe('a caller that does not authenticate (RFC 7662 §2.3)', () => {
  const url = () => `${server.issuer}/oauth2/introspect`;

  test('a wrong secret: 401', async () => {
    const { status, body } = await introspect(server.issuer, { ...ordersApi, clientSecret: 'wrong' }, token);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test('no credentials: 401, without information about the token', async () => {
    for (const asked of [token, 'unknown']) {
      const { status, body } = await postForm(url(), undefined, { token: asked });
      expect(status).toBe(401);
      expect(body).not.toHaveProperty('active');
    }
  });

  test('a confidential client with its id only: 401', async () => {
    expect((await postForm(url(), undefined, { token: 'x', client_id: ordersApi.clientId })).status).toBe(401);
  });

  test('a bearer token does not authenticate a client, not even the token of the request', async () => {
    const headers = { authorization: `Bearer ${token}` };
    const body = new URLSearchParams({ token });
    const answer = await toAnswer(await fetch(url(), { method: 'POST', headers, body }));
    expect([400, 401]).toContain(answer.status);
    expect(answer.body).not.toHaveProperty('active');
  });
});

describe('malformed requests', () => {
  const send = (form: Record<string, string> | URLSearchParams) =>
    postForm(`${server.issuer}/oauth2/introspect`, ordersApi, form);

  test('no token: 400', async () => {
    expect((await send({})).status).toBe(400);
    expect((await send({ token: '' })).status).toBe(400);
  });

  test('token twice: 400, also when one of them is a JWT, or a JWT behind a prefix', async () => {
    const jwt = token;
    for (const pair of [
      [jwt, jwt],
      [jwt, 'x'],
      ['x', jwt],
      [`jwt:${jwt}`, jwt],
      ['x', 'y'],
    ]) {
      const form = new URLSearchParams(pair.map((value): [string, string] => ['token', value]));
      const { status, body } = await send(form);
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    }
  });

  test('a body that is too large: 413, and the next request is answered', async () => {
    const { status, body } = await send({ token: 'x'.repeat(57 * 1024) });
    expect([status, body.error]).toEqual([413, 'invalid_request']);
    expect((await send({ token: 'unknown' })).body).toEqual(INACTIVE);
  });

  test('the token in the query string is not read', async () => {
    const query = new URLSearchParams({ token });
    const { status } = await postForm(`${server.issuer}/oauth2/introspect?${query}`, ordersApi, {});
    expect(status).toBe(400);
  });

  test('another spelling of the path does not bypass the checks of this endpoint', async () => {
    for (const path of ['/oauth2/Introspect', '/oauth2/introspect/', '/oauth2/INTROSPECT/']) {
      const { status, body } = await postForm(`${server.issuer}${path}`, ordersApi, {
        token: `jwt:${token}`,
      });
      expect(status).toBe(404);
      expect(body).not.toHaveProperty('active');
    }
  });
});
