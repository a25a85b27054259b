// Introspection (RFC 7662): the members of a response, and who gets them. Inactive tokens are in
// introspection-inactive and introspection-admin.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { tokenIntrospection } from 'openid-client';
import { introspect, postForm, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  honest,
  INACTIVE,
  obtainTokens,
  PUBLIC,
  type UserTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';
const VAULT = 'https://vault.example';

let server: TestServer;
let userId: string;
let app: TestClient;
let publicApp: TestClient;
let otherApp: TestClient;
let ordersApi: TestClient;
let vaultApi: TestClient;
let tokens: UserTokens;
let publicTokens: UserTokens;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  userId = await admin.createUser(ALICE.username, ALICE.password);
  [ordersApi, vaultApi, otherApp] = [
    await admin.createClient(),
    await admin.createClient(),
    await admin.createClient(),
  ];
  await admin.createApi(ORDERS, { scopes: ['read', 'write'], introspection_client_id: ordersApi.clientId });
  await admin.createApi(VAULT, {
    scopes: ['open'],
    access_token_format: 'opaque',
    introspection_client_id: vaultApi.clientId,
  });
  app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  publicApp = await admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  for (const client of [app, publicApp, otherApp]) {
    await admin.allow(client.clientId, ORDERS, ['read', 'write']);
    await admin.allow(client.clientId, VAULT, ['open']);
  }
  tokens = await obtainTokens(server, app, { scope: 'openid read', resource: ORDERS });
  publicTokens = await obtainTokens(server, publicApp, { scope: 'openid read', resource: ORDERS });
});
afterAll(() => server.stop());

describe('the members for an active token (RFC 7662 §2.2)', () => {
  test('a JWT of a user', async () => {
    const { body, headers } = await introspect(server.issuer, ordersApi, tokens.accessToken);
    const claims = decodeJwt(tokens.accessToken);
    expect(body).toEqual({
      active: true,
      client_id: app.clientId,
      azp: app.clientId,
      sub: userId,
      username: ALICE.username,
      aud: ORDERS,
      iss: server.issuer,
      scope: 'openid read',
      token_type: 'Bearer',
      jti: claims.jti,
      iat: claims.iat,
      exp: claims.exp,
    });
    expect(headers.get('cache-control')).toMatch(/no-store/);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
  });

  test('an opaque token of a client: the same members, with the client as subject', async () => {
    const token = await clientToken(server, app, { resource: VAULT });
    const { body } = await introspect(server.issuer, vaultApi, token);
    expect(body).toEqual({
      active: true,
      client_id: app.clientId,
      azp: app.clientId,
      sub: app.clientId,
      aud: VAULT,
      iss: server.issuer,
      scope: 'open',
      token_type: 'Bearer',
      jti: expect.any(String),
      iat: expect.any(Number),
      exp: (body.iat as number) + 600,
    });
    expect(body.jti).not.toBe(token); // a response in a log must not contain the token
  });

  test('a refresh token, for its client only', async () => {
    const { body } = await introspect(server.issuer, app, tokens.refreshToken);
    expect(body).toMatchObject({
      active: true,
      client_id: app.clientId,
      azp: app.clientId,
      sub: userId,
      username: ALICE.username,
      iss: server.issuer,
      token_type: 'refresh_token',
      exp: expect.any(Number),
      iat: expect.any(Number),
      jti: expect.any(String),
    });
    expect(body.jti).not.toBe(tokens.refreshToken);
  });

  test('the internal id of the grant is not returned', async () => {
    expect((await introspect(server.issuer, ordersApi, tokens.accessToken)).body).not.toHaveProperty('gid');
  });

  test('openid-client at a resource server reads the same members', async () => {
    const answer = await tokenIntrospection(await honest(server, ordersApi), tokens.accessToken);
    expect(answer).toMatchObject({ active: true, client_id: app.clientId, azp: app.clientId });
  });

  test('the token is found with any token_type_hint (RFC 7662 §2.1)', async () => {
    const opaque = await clientToken(server, app, { resource: VAULT });
    for (const token of [tokens.accessToken, tokens.refreshToken, opaque]) {
      for (const token_type_hint of ['access_token', 'refresh_token', 'id_token', 'unknown', '']) {
        const { body } = await postForm(`${server.issuer}/oauth2/introspect`, app, { token, token_type_hint });
        expect(body.active).toBe(true);
      }
    }
  });
});

describe('the callers', () => {
  test('the bound client and the resource server of the audience', async () => {
    for (const caller of [app, ordersApi]) {
      expect((await introspect(server.issuer, caller, tokens.accessToken)).body.active).toBe(true);
    }
  });

  test.each([
    ['another client, which may call the same API', () => otherApp],
    ['the resource server of another audience', () => vaultApi],
  ])('%s gets active: false (RFC 7662 §4)', async (_name, caller) => {
    expect((await introspect(server.issuer, caller(), tokens.accessToken)).body).toEqual(INACTIVE);
    expect((await introspect(server.issuer, caller(), tokens.refreshToken)).body).toEqual(INACTIVE);
  });

  test('the resource server gets active: false for a refresh token', async () => {
    expect((await introspect(server.issuer, ordersApi, tokens.refreshToken)).body).toEqual(INACTIVE);
  });

  const REFUSED = {
    error: 'invalid_client',
    error_description: 'client authentication is required, which public clients have not',
  };

  test('a public client is refused, for its own tokens too: who found one would learn whose it is (RFC 7662 §2.1)', async () => {
    const known = [publicTokens.accessToken, publicTokens.refreshToken, tokens.accessToken, tokens.refreshToken];
    for (const token of [...known, 'unknown']) {
      // The engine answers what the fast path does not take.
      for (const accept of ['application/json', 'text/html']) {
        const url = `${server.issuer}/oauth2/introspect`;
        const { status, headers, body } = await postForm(url, publicApp, { token }, { accept });
        expect([status, body]).toEqual([401, REFUSED]);
        expect(headers.get('www-authenticate')).toMatch(/^Basic /);
      }
    }
    expect((await introspect(server.issuer, ordersApi, publicTokens.accessToken)).body.active).toBe(true);
  });

  test('a public client that is the introspection client of an API is refused too: it cannot authenticate', async () => {
    const id = encodeURIComponent(ORDERS);
    const set = (introspection_client_id: string) =>
      server.admin.request('PATCH', `/resource-servers/${id}`, { introspection_client_id });
    await set(publicApp.clientId);
    expect((await introspect(server.issuer, publicApp, tokens.accessToken)).body).toEqual(REFUSED);
    await set(ordersApi.clientId);
    expect((await introspect(server.issuer, ordersApi, tokens.accessToken)).body.active).toBe(true);
  });
});
