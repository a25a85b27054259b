// The authorization endpoint with a session of the browser and earlier consent.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  obtainCode,
  type Params,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair, signInAndAllow } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient(CODE_FLOW);
});
afterAll(() => server.stop());
afterEach(resetClock);

const pkce = () => ({ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' });

function request(params: Params, agent = createUserAgent(server.issuer)) {
  return agent.visit(authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce(), ...params }));
}

describe('prompt and max_age (OpenID Connect Core §3.1.2.1)', () => {
  test('prompt=none without a session: login_required, without a page', async () => {
    const { leavesTo } = await request({ prompt: 'none' });
    expect(leavesTo?.searchParams.get('error')).toBe('login_required');
  });

  test('prompt=none with a session but without consent: consent_required', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const other = await server.admin.createClient(CODE_FLOW);
    const page = await request({ client_id: other.clientId, prompt: 'none' }, agent);
    expect(page.leavesTo?.searchParams.get('error')).toMatch(/^(consent|interaction)_required$/);
  });

  test('with a session and consent: a code, without a page', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const page = await request({ prompt: 'none' }, agent);
    expect(page.leavesTo?.searchParams.get('code')).toMatch(/^[\w-]{43}$/);
  });

  test('prompt=login asks for the password again, despite the session', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    expect((await request({ prompt: 'login' }, agent)).html).toContain('id="login-page"');
  });

  test('max_age: the user signs in again after it; auth_time is the time of the login', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    expect((await request({ max_age: '3600' }, agent)).leavesTo?.searchParams.has('code')).toBe(true);
    moveClock(3_601);
    expect((await request({ max_age: '3600' }, agent)).html).toContain('id="login-page"');
  });

  test('login_hint fills in the username, escaped', async () => {
    const page = await request({ login_hint: '"><b>alice' });
    expect(page.html).toContain('&quot;&gt;&lt;b&gt;alice');
    expect(page.html).not.toContain('"><b>alice');
  });

  test('the user cancels: access_denied for the app', async () => {
    const agent = createUserAgent(server.issuer);
    const page = await request({}, agent);
    const back = (await agent.submit(formAction(page.html, 'cancel'), {})).leavesTo;
    expect([back?.searchParams.get('error'), back?.searchParams.get('state')]).toEqual(['access_denied', 'a state']);
  });
});

describe('consent', () => {
  test('is stored per client and scope, for every browser: only new scopes are asked for', async () => {
    const shop = await server.admin.createClient(CODE_FLOW);
    await obtainCode(server, shop, { scope: 'openid email' });

    const agent = createUserAgent(server.issuer);
    const login = await request({ client_id: shop.clientId, scope: 'openid email' }, agent);
    const back = await agent.submit(formAction(login.html, 'login'), ALICE);
    expect(back.leavesTo?.searchParams.has('code')).toBe(true); // no consent page

    const more = await request({ client_id: shop.clientId, scope: 'openid email phone' }, agent);
    expect(more.html).toContain('id="consent-page"');
    const [asked, before] = more.html.split('<details>') as [string, string];
    expect(asked).toContain('phone number');
    expect(asked).not.toContain('email address');
    expect(before).toContain('email address');

    const other = await server.admin.createClient(CODE_FLOW);
    expect((await request({ client_id: other.clientId }, agent)).html).toContain('id="consent-page"');
  });

  test('of one user does not apply to another user in the same browser', async () => {
    const shop = await server.admin.createClient(CODE_FLOW);
    const bob = { username: 'bob', password: 'correct horse battery' };
    await server.admin.createUser(bob.username, bob.password);
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, shop, {}, { agent });
    const login = await request({ client_id: shop.clientId, prompt: 'login' }, agent);
    const next = await agent.submit(formAction(login.html, 'login'), bob);
    expect(next.leavesTo?.searchParams.has('code') ?? false).toBe(false);
  });
});

test('an authorization response names its issuer, against mix-up attacks (RFC 9207)', async () => {
  const url = authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce() });
  const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
  expect(back.searchParams.get('iss')).toBe(server.issuer);
  expect([...back.searchParams.keys()].sort()).toEqual(['code', 'iss', 'state']);
});

test('the session of a disabled user is invalid: the login page is shown, and refuses the user', async () => {
  const carol = { username: 'carol', password: 'correct horse battery' };
  const id = await server.admin.createUser(carol.username, carol.password);
  const agent = createUserAgent(server.issuer);
  const issued = await obtainCode(server, app, {}, { agent, user: carol });
  const { accessToken } = toTokens(await exchange(server, app, issued));
  expect((await userinfo(server, accessToken)).status).toBe(200);
  await server.admin.request('POST', `/users/${id}/disable`);
  expect((await userinfo(server, accessToken)).status).toBe(401);
  expect((await request({ prompt: 'none' }, agent)).leavesTo?.searchParams.get('error')).toBe('login_required');
  const login = await request({}, agent);
  expect(login.html).toContain('id="login-page"');
  expect((await agent.submit(formAction(login.html, 'login'), carol)).leavesTo).toBeUndefined();
});

test('a code that was issued before the user was disabled is refused', async () => {
  const dave = { username: 'dave', password: 'correct horse battery' };
  const id = await server.admin.createUser(dave.username, dave.password);
  const issued = await obtainCode(server, app, {}, { user: dave });
  await server.admin.request('POST', `/users/${id}/disable`);
  expect((await exchange(server, app, issued)).body.error).toBe('invalid_grant');
});

test('userinfo is refused after the client was disabled', async () => {
  const client = await server.admin.createClient(CODE_FLOW);
  const { accessToken } = toTokens(await exchange(server, client, await obtainCode(server, client)));
  await server.admin.request('POST', `/clients/${client.clientId}/disable`);
  expect((await userinfo(server, accessToken)).status).toBe(401);
});
