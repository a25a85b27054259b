// Signed responses: authorization (JARM), introspection (RFC 9701), userinfo (OpenID Connect Core
// §5.3.2). Each is verified with the published keys, as an app or API would.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { authorizationCodeGrant, useJwtResponseMode } from 'openid-client';
import type { TestClient } from '../support/admin.ts';
import { ALICE, authorizationUrl, CODE_FLOW, clientToken, honest, obtainTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let app: TestClient;
let api: TestClient;
let keys: ReturnType<typeof createRemoteJWKSet>;

beforeAll(async () => {
  server = await startTestServer();
  keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
  api = await server.admin.createClient();
  app = await server.admin.createClient({ ...CODE_FLOW, userinfo_signed_response_alg: 'ES256' });
  await server.admin.createApi(ORDERS, { scopes: ['read'], introspection_client_id: api.clientId });
  await server.admin.allow(app.clientId, ORDERS, ['read']);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

test('response_mode=jwt returns a signed response for the app, which openid-client accepts', async () => {
  const { verifier, challenge } = pkcePair();
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    response_mode: 'jwt',
  });
  const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
  expect([...back.searchParams.keys()]).toEqual(['response']);
  const { payload } = await jwtVerify(back.searchParams.get('response') as string, keys, {
    issuer: server.issuer,
    audience: app.clientId,
    requiredClaims: ['exp'],
  });
  expect(payload).toMatchObject({ code: expect.any(String), state: 'a state' });

  const configuration = await honest(server, app);
  useJwtResponseMode(configuration);
  const tokens = await authorizationCodeGrant(configuration, back, {
    pkceCodeVerifier: verifier,
    expectedState: 'a state',
  });
  expect(tokens.claims()).toMatchObject({ azp: app.clientId });
});

test('an error is signed too', async () => {
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    response_mode: 'query.jwt',
    prompt: 'none',
  });
  const { leavesTo } = await createUserAgent(server.issuer).visit(url);
  const { payload } = await jwtVerify(leavesTo?.searchParams.get('response') as string, keys, {
    issuer: server.issuer,
    audience: app.clientId,
  });
  expect(payload).toMatchObject({ error: 'login_required', state: 'a state' });
});

async function introspectSigned(caller: TestClient, token: string): Promise<Response> {
  return fetch(`${server.issuer}/oauth2/introspect`, {
    method: 'POST',
    headers: {
      accept: 'application/token-introspection+jwt',
      authorization: `Basic ${Buffer.from(`${caller.clientId}:${caller.clientSecret}`).toString('base64')}`,
    },
    body: new URLSearchParams({ token }),
  });
}

test('an API gets a signed introspection response on request (RFC 9701 §5), which names the client', async () => {
  const { accessToken } = await obtainTokens(server, app, { resource: ORDERS, scope: 'openid read' });
  const response = await introspectSigned(api, accessToken);
  expect(response.headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
  const { payload, protectedHeader } = await jwtVerify(await response.text(), keys, {
    issuer: server.issuer,
    typ: 'token-introspection+jwt',
    requiredClaims: ['iat'],
  });
  expect(protectedHeader.alg).toBe('RS256');
  expect(payload.token_introspection).toMatchObject({
    active: true,
    client_id: app.clientId,
    azp: app.clientId,
    aud: ORDERS,
  });
  // RFC 9701 §8.1: it must not pass for an access token.
  expect(payload).not.toHaveProperty('sub');
  expect(payload).not.toHaveProperty('exp');
});

test('a signed response about a token of another client has active: false only', async () => {
  const otherClient = await server.admin.createClient();
  await server.admin.allow(otherClient.clientId, ORDERS, ['read']);
  const response = await introspectSigned(otherClient, await clientToken(server, api).catch(() => 'none'));
  const { payload } = await jwtVerify(await response.text(), keys, { issuer: server.issuer });
  expect(payload.token_introspection).toEqual({ active: false });
});

test('userinfo is signed for a client that registered for it, with that client as audience', async () => {
  const { accessToken } = await obtainTokens(server, app);
  const response = await fetch(`${server.issuer}/oauth2/userinfo`, {
    headers: { authorization: `Bearer ${accessToken}` },
  });
  expect(response.headers.get('content-type')).toMatch(/^application\/jwt/);
  const { payload } = await jwtVerify(await response.text(), keys, { issuer: server.issuer, audience: app.clientId });
  expect(payload.sub).toEqual(expect.any(String));
});

test('the discovery document lists the algorithms', async () => {
  const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
  expect(metadata).toMatchObject({
    authorization_signing_alg_values_supported: expect.arrayContaining(['ES256', 'RS256']),
    introspection_signing_alg_values_supported: expect.arrayContaining(['ES256']),
    userinfo_signing_alg_values_supported: expect.arrayContaining(['ES256']),
    response_modes_supported: expect.arrayContaining(['jwt', 'query.jwt', 'form_post.jwt', 'form_post', 'query']),
    request_parameter_supported: true,
    request_uri_parameter_supported: false,
    claims_parameter_supported: true,
    pushed_authorization_request_endpoint: `${server.issuer}/oauth2/par`,
    dpop_signing_alg_values_supported: ['ES256', 'PS256', 'Ed25519', 'EdDSA'],
    subject_types_supported: ['public', 'pairwise'],
    acr_values_supported: ['urn:lanyard:acr:password'],
    authorization_response_iss_parameter_supported: true,
    authorization_details_types_supported: [],
  });
});
