// The result of the authorization code flow: ID token, userinfo, and only the requested claims.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import type { TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, obtainTokens, userinfo } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';
const VAULT = 'https://vault.example';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient(CODE_FLOW);
  await server.admin.createApi(ORDERS, { scopes: ['orders:read'] });
  await server.admin.allow(app.clientId, ORDERS, ['orders:read']);
  await server.admin.createApi(VAULT, { scopes: ['vault:open'], access_token_format: 'opaque' });
  await server.admin.allow(app.clientId, VAULT, ['vault:open']);
  await server.admin.createUser(ALICE.username, ALICE.password, {
    email: 'alice@example.com',
    claims: { name: 'Alice', phone_number: '+49 30 1', address: { country: 'DE' } },
  });
});
afterAll(() => server.stop());

describe('the tokens of an app', () => {
  test.each([
    ['openid', {}],
    ['openid profile', { name: 'Alice', preferred_username: 'alice', updated_at: expect.any(Number) }],
    ['openid email', { email: 'alice@example.com', email_verified: false }],
    ['openid address', { address: { country: 'DE' } }],
    ['openid phone', { phone_number: '+49 30 1' }],
  ])('userinfo returns the claims of scope %s only (OpenID Connect Core §5.4)', async (scope, claims) => {
    const { accessToken, idToken } = await obtainTokens(server, app, { scope });
    const { sub } = decodeJwt(idToken);
    expect((await userinfo(server, accessToken)).body).toEqual({ sub, ...claims });
  });

  test('userinfo refuses a token for an API without openid, and an invented one', async () => {
    const { accessToken: jwt } = await obtainTokens(server, app, { scope: 'orders:read', resource: ORDERS });
    const { accessToken: opaque } = await obtainTokens(server, app, { scope: 'vault:open', resource: VAULT });
    const { refreshToken, idToken } = await obtainTokens(server, app);
    for (const token of [jwt, `jwt:${jwt}`, opaque, refreshToken, idToken, 'unknown']) {
      const { status, headers, body } = await userinfo(server, token);
      // RFC 6750 §3.1: valid, but without the scope openid
      expect(status).toBe([jwt, opaque].includes(token) ? 403 : 401);
      expect(headers.get('www-authenticate')).toMatch(/^Bearer .*error="(invalid_token|insufficient_scope)"/);
      expect(body).not.toHaveProperty('sub');
    }
    const inQuery = await obtainTokens(server, app);
    const answer = await fetch(`${server.issuer}/oauth2/userinfo?access_token=${inQuery.accessToken}`);
    expect(answer.status).toBe(400); // RFC 9700 §4.3.2
  });

  test('ID tokens are signed with RS256, or with ES256 for a client that registered for it', async () => {
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
    const es256 = await server.admin.createClient({ ...CODE_FLOW, id_token_signed_response_alg: 'ES256' });
    await server.admin.allow(es256.clientId, ORDERS, ['orders:read']);
    for (const [client, alg] of [
      [app, 'RS256'],
      [es256, 'ES256'],
    ] as const) {
      const tokens = await obtainTokens(server, client, { scope: 'openid orders:read', resource: ORDERS });
      const options = { issuer: server.issuer, audience: client.clientId, algorithms: [alg] };
      expect((await jwtVerify(tokens.idToken, keys, options)).payload.azp).toBe(client.clientId);
      expect(decodeProtectedHeader(tokens.accessToken)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' });
    }
  });

  test('a client that did not register the refresh_token grant gets no refresh token', async () => {
    const client = await server.admin.createClient({ ...CODE_FLOW, grant_types: ['authorization_code'] });
    const answer = await exchange(server, client, await obtainCode(server, client));
    expect(answer.status).toBe(200);
    expect(answer.body).not.toHaveProperty('refresh_token');
  });

  test('without openid there is no ID token, and userinfo refuses the access token', async () => {
    const answer = await exchange(
      server,
      app,
      await obtainCode(server, app, { scope: 'orders:read', resource: ORDERS }),
    );
    expect(answer.body).not.toHaveProperty('id_token');
    expect((await userinfo(server, answer.body.access_token as string)).status).toBe(403);
  });
});
