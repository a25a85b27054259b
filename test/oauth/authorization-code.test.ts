// Authorization code + PKCE, from the first page to the refresh, with the tokens an app would hold.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { introspect, requestToken, type TestClient } from '../support/admin.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const REDIRECT_URI = 'https://app.example/callback';
const USER = { username: 'alice', password: 'correct horse battery' };

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient({
    client_name: 'Shop',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [REDIRECT_URI],
  });
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['orders:read', 'orders:write'] });
  await server.admin.allow(app.clientId, ORDERS, ['orders:read']);
  await server.admin.createUser(USER.username, USER.password, { email: 'alice@example.com' });
});
afterAll(() => server.stop());

test('a user signs in, allows, and the app gets tokens that name it', async () => {
  const { verifier, challenge } = pkcePair();
  const authorizationUrl = `${server.issuer}/oauth2/authorize?${new URLSearchParams({
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid email orders:read',
    resource: ORDERS,
    state: 'a state',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  })}`;
  const back = await signInAndAllow(createUserAgent(server.issuer), authorizationUrl, USER);
  expect(back.searchParams.get('state')).toBe('a state');
  expect(back.searchParams.get('iss')).toBe(server.issuer);

  const answer = await requestToken(server.issuer, app, {
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') as string,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
  });
  expect(answer.status).toBe(200);
  const accessToken = decodeJwt(answer.body.access_token as string);
  expect(accessToken).toMatchObject({ client_id: app.clientId, azp: app.clientId, aud: ORDERS, scope: 'orders:read' });
  const idToken = decodeJwt(answer.body.id_token as string);
  expect(idToken).toMatchObject({ azp: app.clientId, aud: app.clientId, email: 'alice@example.com' });

  const refreshed = await requestToken(server.issuer, app, {
    grant_type: 'refresh_token',
    refresh_token: answer.body.refresh_token as string,
  });
  expect(refreshed.status).toBe(200);
  expect((await introspect(server.issuer, app, refreshed.body.access_token as string)).body).toMatchObject({
    active: true,
    client_id: app.clientId,
    azp: app.clientId,
    username: 'alice',
    sub: accessToken.sub,
  });
  expect((await introspect(server.issuer, app, answer.body.refresh_token as string)).body).toMatchObject({
    active: true,
    client_id: app.clientId,
    azp: app.clientId,
  });
});
