// Which transport answers is chosen by an allow-list. What it does not know goes to the engine: a header that an attacker adds, or a
// spelling of one, must not switch a check off or a signature away.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { postForm, type TestClient } from '../support/admin.ts';
import { plain, sameBothWays } from '../support/both-ways.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import { ALICE, clientToken, PUBLIC } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';
const CC = { grant_type: 'client_credentials' };

let server: TestServer;
let app: TestClient;
let signing: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  app = await admin.createClient();
  signing = await admin.createClient({
    grant_types: ['client_credentials'],
    introspection_signed_response_alg: 'ES256',
  });
  await admin.createApi(API, { scopes: ['read'], introspection_client_id: signing.clientId });
  await admin.allow(app.clientId, API, ['read']);
  await admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

test.each([
  'OAuth-Client-Attestation-PoP',
  'oauth-client-attestation',
  'Content-Encoding',
  'X-HTTP-Method-Override',
  'Client-Cert',
  'Signature',
])('a request with the header %s, which the allow-list does not know, goes to the engine', async (name) => {
  const { isFast } = await sameBothWays(server, '/oauth2/token', plain(app, CC, { [name]: 'x' }));
  expect(isFast).toBe(false);
  expect((await sameBothWays(server, '/oauth2/token', plain(app, CC))).isFast).toBe(true);
});

test.each([
  'application/token-introspection+jwt',
  'application/TOKEN-INTROSPECTION+JWT',
  'application/json;q=0.1, application/*',
  'application/json;q=0.9,application/token-introspection+jwt',
])('introspection is signed for an API that asks for it with Accept: %s (RFC 9701 §4)', async (accept) => {
  const token = await clientToken(server, app);
  const sent = plain(signing, { token }, { accept });
  const { isFast, status, body } = await sameBothWays(server, '/oauth2/introspect', sent);
  expect([isFast, status]).toEqual([false, 200]);
  expect(decodeJwt(String(body.text)).token_introspection).toMatchObject({ active: true, client_id: app.clientId });
});

test.each(['*/*', 'application/json', 'application/json, */*'])(
  'introspection is plain JSON for the same API with Accept: %s, without the engine',
  async (accept) => {
    const sent = plain(signing, { token: await clientToken(server, app) }, { accept });
    const { isFast, body } = await sameBothWays(server, '/oauth2/introspect', sent);
    expect([isFast, body.active]).toEqual([true, true]);
  },
);

test('a device client gets a refresh token on both transports, without offline_access', async () => {
  const tv = await server.admin.createClient({ ...PUBLIC, grant_types: [DEVICE_GRANT, 'refresh_token'] });
  const agent = createUserAgent(server.issuer);
  const { status, body, isFast } = await sameBothWays(server, '/oauth2/token', async () => {
    const started = await postForm(`${server.issuer}/oauth2/device_authorization`, tv, { scope: 'openid' });
    await approveDevice(server.issuer, String(started.body.user_code), agent);
    const form = { grant_type: DEVICE_GRANT, device_code: String(started.body.device_code), client_id: tv.clientId };
    return { body: new URLSearchParams(form).toString() };
  });
  expect([status, isFast]).toEqual([200, true]);
  expect(body).toMatchObject({ scope: 'openid', refresh_token: expect.stringMatching(/^lyr_/) });
});
