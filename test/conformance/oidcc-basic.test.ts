// What failed in the plan `oidcc-basic-certification-test-plan` of the OpenID Foundation's suite, by module. As there, the app is
// registered with a name and redirect URIs, and its requests have a state and a nonce, but neither PKCE nor `resource`.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { type Answer, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { ALICE, authorizationUrl, type Params, REDIRECT_URI, userinfo } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const APP = { client_name: 'An app', redirect_uris: [REDIRECT_URI] };

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient(APP);
  await server.admin.createUser(ALICE.username, ALICE.password, {
    email: 'alice@example.com',
    claims: { name: 'Alice' },
  });
});
afterAll(() => server.stop());
afterEach(resetClock);

const requestUrl = (client: TestClient, params: Params = {}) =>
  authorizationUrl(server.issuer, { client_id: client.clientId, nonce: 'a nonce of the app', ...params });

async function codeFor(client: TestClient, params: Params = {}): Promise<string> {
  const back = await signInAndAllow(createUserAgent(server.issuer), requestUrl(client, params), ALICE);
  expect([back.searchParams.get('error'), back.searchParams.get('state')]).toEqual([null, 'a state']);
  return String(back.searchParams.get('code'));
}

function redeem(client: TestClient, code: string): Promise<Answer> {
  return requestToken(server.issuer, client, { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI });
}

async function tokensFor(client: TestClient, params: Params = {}) {
  const { status, headers, body } = await redeem(client, await codeFor(client, params));
  expect([status, headers.get('cache-control'), body.token_type]).toEqual([200, 'no-store', 'Bearer']);
  return { accessToken: String(body.access_token), idToken: String(body.id_token) };
}

/** ValidateIdToken, ValidateIdTokenSignature: RS256 where nothing else was registered (OpenID Registration §2). */
async function validated(idToken: string, { clientId }: TestClient) {
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
  const options = { issuer: server.issuer, audience: clientId, algorithms: ['RS256'] };
  return jwtVerify(idToken, keys, options);
}

test('oidcc-server: signs in, and the ID token is valid', async () => {
  const { accessToken, idToken } = await tokensFor(app);
  const { payload } = await validated(idToken, app);
  expect(payload).toMatchObject({ aud: app.clientId, nonce: 'a nonce of the app', sub: expect.any(String) });
  expect((await userinfo(server, accessToken)).body.sub).toBe(payload.sub);
});

test('oidcc-server: the ID token has no claims that are not of an ID token (a warning)', async () => {
  const { payload } = await validated((await tokensFor(app)).idToken, app);
  expect(Object.keys(payload).sort()).toEqual(
    ['iss', 'sub', 'aud', 'exp', 'iat', 'nonce', 'azp', 'auth_time', 'acr', 'amr'].sort(),
  );
});

test('oidcc-server-client-secret-post', async () => {
  const post = await server.admin.createClient({ ...APP, token_endpoint_auth_method: 'client_secret_post' });
  const { clientId, clientSecret } = post;
  const form = { grant_type: 'authorization_code', code: await codeFor(post), redirect_uri: REDIRECT_URI };
  const body = new URLSearchParams({ ...form, client_id: clientId, client_secret: clientSecret });
  const answer = await toAnswer(await fetch(`${server.issuer}/oauth2/token`, { method: 'POST', body }));
  expect(answer.status).toBe(200);
  await validated(String(answer.body.id_token), post);
});

test('oidcc-idtoken-signature: the kid of the ID token is that of one key of the set', async () => {
  const { protectedHeader } = await validated((await tokensFor(app)).idToken, app);
  const { body } = await toAnswer(await fetch(`${server.issuer}/oauth2/jwks`));
  const found = (body.keys as { kid: string; alg: string }[]).filter(({ kid }) => kid === protectedHeader.kid);
  expect(found.map(({ alg }) => alg)).toEqual(['RS256']);
});

describe('the userinfo endpoint takes the access token', () => {
  let accessToken: string;
  beforeAll(async () => {
    ({ accessToken } = await tokensFor(app));
  });

  test.each<[string, () => RequestInit]>([
    ['oidcc-userinfo-get', () => ({ headers: { authorization: `Bearer ${accessToken}` } })],
    ['oidcc-userinfo-post-header', () => ({ method: 'POST', headers: { authorization: `Bearer ${accessToken}` } })],
    ['oidcc-userinfo-post-body', () => ({ method: 'POST', body: new URLSearchParams({ access_token: accessToken }) })],
  ])('%s', async (_module, init) => {
    const { status, body } = await toAnswer(await fetch(`${server.issuer}/oauth2/userinfo`, init()));
    expect([status, body.sub]).toEqual([200, expect.any(String)]);
  });
});

test.each([
  ['oidcc-scope-profile', 'openid profile', { name: 'Alice' }],
  ['oidcc-scope-email', 'openid email', { email: 'alice@example.com' }],
  ['oidcc-scope-address', 'openid address', {}],
  ['oidcc-scope-phone', 'openid phone', {}],
  ['oidcc-scope-all', 'openid profile email address phone', { name: 'Alice', email: 'alice@example.com' }],
  ['oidcc-ensure-other-scope-order-succeeds', 'email openid', { email: 'alice@example.com' }],
])('%s', async (_module, scope, claims) => {
  const { accessToken, idToken } = await tokensFor(app, { scope });
  const { payload } = await validated(idToken, app);
  expect((await userinfo(server, accessToken)).body).toMatchObject({ sub: payload.sub, ...claims });
});

test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow: with require_pkce false', async () => {
  const client = await server.admin.createClient({ ...APP, require_pkce: false });
  const { idToken } = await tokensFor(client, { nonce: undefined });
  expect((await validated(idToken, client)).payload).not.toHaveProperty('nonce');
});

test('oidcc-ensure-request-with-valid-pkce-succeeds', async () => {
  const { verifier, challenge } = pkcePair();
  const code = await codeFor(app, { code_challenge: challenge, code_challenge_method: 'S256' });
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, code_verifier: verifier };
  expect((await requestToken(server.issuer, app, form)).status).toBe(200);
});

test('oidcc-ensure-post-request-succeeds: the authorization request as a form', async () => {
  const agent = createUserAgent(server.issuer);
  await signInAndAllow(agent, requestUrl(app), ALICE);
  const { searchParams } = new URL(requestUrl(app));
  const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://app.example' };
  const { leavesTo } = await agent.submit('/oauth2/authorize', Object.fromEntries(searchParams), headers);
  expect([leavesTo?.searchParams.get('error'), leavesTo?.searchParams.has('code')]).toEqual([null, true]);
});

test('oidcc-ensure-registered-redirect-uri: an error page, and no redirect', async () => {
  const url = requestUrl(app, { redirect_uri: `${REDIRECT_URI}/other` });
  const page = await createUserAgent(server.issuer).visit(url);
  expect([page.status, page.leavesTo]).toEqual([400, undefined]);
  expect(page.html).toContain('id="error-page"');
});

describe('a code that is used twice', () => {
  test.each([
    ['oidcc-codereuse', 0],
    ['oidcc-codereuse-30seconds', 30],
  ])('%s: is refused, and its tokens end', async (_module, seconds) => {
    const code = await codeFor(app);
    const first = await redeem(app, code);
    expect(first.status).toBe(200);
    moveClock(seconds);
    const second = await redeem(app, code);
    expect([second.status, second.body.error]).toEqual([400, 'invalid_grant']);
    expect((await userinfo(server, String(first.body.access_token))).status).toBe(401);
  });
});

test('oidcc-id-token-hint, oidcc-prompt-none-logged-in: signs in again without a page', async () => {
  const agent = createUserAgent(server.issuer);
  const back = await signInAndAllow(agent, requestUrl(app), ALICE);
  const { body } = await redeem(app, String(back.searchParams.get('code')));
  for (const hint of [undefined, String(body.id_token)]) {
    const { leavesTo } = await agent.visit(requestUrl(app, { prompt: 'none', id_token_hint: hint }));
    expect([leavesTo?.searchParams.get('error'), leavesTo?.searchParams.has('code')]).toEqual([null, true]);
  }
});
