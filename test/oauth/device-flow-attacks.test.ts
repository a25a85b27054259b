// The device flow (RFC 8628) with stolen codes, users who change their mind, parallel requests of a
// device, and expired codes.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { approveDevice, confirmDevice, DEVICE_GRANT, hidden, typeUserCode } from '../support/device.ts';
import { ALICE, isActive, PUBLIC, refresh, tally, toTokens } from '../support/oauth.ts';
import { eventually } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';
import { createUserAgent, formAction } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BOB = { username: 'bob', password: 'correct horse battery' };

let server: TestServer;
let tv: TestClient;
let api: TestClient;
let bobId: string;

beforeAll(async () => {
  server = await startTestServer();
  api = await server.admin.createClient();
  await server.admin.createApi(ORDERS, { scopes: ['read'], introspection_client_id: api.clientId });
  tv = await newDevice();
  await server.admin.createUser(ALICE.username, ALICE.password);
  bobId = await server.admin.createUser(BOB.username, BOB.password);
});
afterAll(() => server.stop());
afterEach(resetClock);

async function newDevice(members: Record<string, unknown> = {}): Promise<TestClient> {
  const client = await server.admin.createClient({
    ...PUBLIC,
    grant_types: [DEVICE_GRANT, 'refresh_token'],
    ...members,
  });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  return client;
}

async function start(
  client = tv,
  params: Record<string, string> = {},
): Promise<{ device_code: string; user_code: string }> {
  const form = { scope: 'openid read offline_access', resource: ORDERS, ...params };
  const { status, body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, form);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body as never;
}

const grant = (deviceCode: string) => ({ grant_type: DEVICE_GRANT, device_code: deviceCode });
const poll = (deviceCode: string, client = tv) => requestToken(server.issuer, client, grant(deviceCode));
const inBrowser = () => createUserAgent(server.issuer);

/** The login page, after the code was entered and confirmed. */
async function confirmed(userCode: string, agent = inBrowser()) {
  return confirmDevice(agent, await typeUserCode(server.issuer, agent, userCode));
}

async function denials(client: TestClient): Promise<number> {
  const path = `/audit-events?type=device.denied&client_id=${client.clientId}`;
  return ((await server.admin.request('GET', path)).body.items as unknown[]).length;
}

describe('a stolen device code', () => {
  test('is refused for another client like an invented one, and the device is not slowed down', async () => {
    const otherDevice = await newDevice();
    const { device_code: code } = await start();
    const invented = await poll('invented', otherDevice);
    for (let again = 0; again < 3; again++) expect((await poll(code, otherDevice)).body).toEqual(invented.body);
    expect((await poll(code)).body.error).toBe('authorization_pending');
  });

  test('two users with the same code: the second one gets an error, and cannot replace the first one', async () => {
    const { device_code: code, user_code: userCode } = await start();
    const agent = inBrowser();
    const late = await typeUserCode(server.issuer, agent, userCode);
    await approveDevice(server.issuer, userCode);
    expect((await confirmDevice(agent, late)).html).toContain('was used already');
    expect((await confirmDevice(agent, late, { abort: 'yes' })).html).not.toContain('You have refused');
    const { body } = await poll(code);
    const { rows } = await server.sql.query('SELECT id FROM users WHERE username = $1', [ALICE.username]);
    expect(decodeJwt(body.access_token as string).sub).toBe(rows[0].id);
  });

  test('a code in a link is escaped', async () => {
    const query = new URLSearchParams({ user_code: '"><script>alert(1)</script>' });
    const page = await inBrowser().visit(`${server.issuer}/oauth2/device?${query}`);
    expect(page.html).not.toContain('<script>alert');
    const next = await inBrowser().submit('/oauth2/device', { user_code: '"><script>alert(1)</script>', xsrf: 'x' });
    expect(next.html).not.toContain('<script>alert');
  });
});

describe('a user who changes their mind', () => {
  test('cancels at the login page: the device is refused', async () => {
    const client = await newDevice();
    const { device_code: code, user_code: userCode } = await start(client);
    const agent = inBrowser();
    const page = await confirmed(userCode, agent);
    expect(page.html).toContain('id="login-page"');
    const end = await agent.submit(formAction(page.html, 'cancel'), {});
    expect(end.html).toContain('You have refused');
    expect((await poll(code, client)).body).toMatchObject({ error: 'access_denied' });
    expect(await denials(client)).toBe(1);
  });

  test('refuses at the confirmation page: that is in the audit log too', async () => {
    const client = await newDevice();
    const agent = inBrowser();
    const page = await typeUserCode(server.issuer, agent, (await start(client)).user_code);
    await confirmDevice(agent, page, { abort: 'yes' });
    expect(await denials(client)).toBe(1);
  });

  test('signs out in another tab: the stale page leads to the page for entering a code', async () => {
    const client = await newDevice();
    const agent = inBrowser();
    await approveDevice(server.issuer, (await start(client)).user_code, agent);
    moveClock(60);
    const { device_code: code, user_code: userCode } = await start(client, { max_age: '1' });
    const login = await confirmed(userCode, agent);
    const logout = await agent.visit('/oauth2/logout');
    await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(logout.html, 'xsrf'), logout: 'yes' });
    const stale = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    expect(stale.html).toContain('This page is no longer valid');
    const restart = /id="restart"[^>]* href="([^"]*)"/.exec(stale.html)?.[1] as string;
    expect((await agent.visit(restart)).html).toContain('id="user-code-page"');
    expect((await poll(code, client)).body.error).toBe('authorization_pending');
  });
});

describe('a device that sends parallel requests', () => {
  test('of 20 requests at once one gets tokens, which are revoked because the code was used again', async () => {
    const client = await newDevice();
    const { device_code: code, user_code: userCode } = await start(client);
    await approveDevice(server.issuer, userCode);
    const answers = await Promise.all(Array.from({ length: 20 }, () => poll(code, client)));
    expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
    const tokens = toTokens(answers.find(({ status }) => status === 200) as never);
    await eventually(async () => {
      expect(await isActive(server, api, tokens.accessToken)).toBe(false);
    });
    expect((await refresh(server, client, tokens.refreshToken)).body.error).toBe('invalid_grant');
    const { body } = await server.admin.request(
      'GET',
      `/audit-events?type=token.replayed&client_id=${client.clientId}`,
    );
    expect((body.items as unknown[]).length).toBeGreaterThanOrEqual(1);
  });
});

describe('expired codes', () => {
  test('a code that was never entered', async () => {
    const { device_code: code, user_code: userCode } = await start();
    moveClock(601);
    expect((await poll(code)).body.error).toBe('expired_token');
    const page = await typeUserCode(server.issuer, inBrowser(), userCode);
    expect([page.status, page.html.includes('The code has expired')]).toEqual([400, true]);
  });

  test('a code that was allowed, but not redeemed in time', async () => {
    const { device_code: code, user_code: userCode } = await start();
    await approveDevice(server.issuer, userCode);
    moveClock(601);
    expect((await poll(code)).body).toMatchObject({ error: 'expired_token' });
  });

  test('a user who was disabled after allowing it', async () => {
    const { device_code: code, user_code: userCode } = await start();
    const agent = inBrowser();
    const login = await confirmed(userCode, agent);
    const done = await agent.submit(formAction(login.html, 'login'), { ...BOB });
    expect(done.html).toContain('id="device-done"');
    await server.admin.request('POST', `/users/${bobId}/disable`);
    expect((await poll(code)).body).toMatchObject({ error: 'invalid_grant' });
    await server.admin.request('POST', `/users/${bobId}/enable`);
    expect((await poll(code)).body).toMatchObject({ error: 'invalid_grant' });
  });
});

test('a device with a DPoP key gets bound tokens, which cannot be refreshed without the key (RFC 9449 §5)', async () => {
  const client = await newDevice({ dpop_bound_access_tokens: true });
  const { device_code: code, user_code: userCode } = await start(client);
  await approveDevice(server.issuer, userCode);
  const htu = `${server.issuer}/oauth2/token`;
  expect((await poll(code, client)).body).toMatchObject({ error: 'invalid_grant' });
  const signer = await newSigner();
  const proof = async () => ({ dpop: await dpopProof(signer, { htm: 'POST', htu }) });
  const answer = await postForm(htu, client, grant(code), await proof());
  expect(answer.body.token_type).toBe('DPoP');
  const tokens = toTokens(answer);
  expect(decodeJwt(tokens.accessToken)).toMatchObject({ azp: client.clientId, cnf: { jkt: signer.thumbprint } });
  expect((await refresh(server, client, tokens.refreshToken)).body).not.toHaveProperty('access_token');
  const form = { grant_type: 'refresh_token', refresh_token: tokens.refreshToken };
  expect((await postForm(htu, client, form, await proof())).status).toBe(200);
});

test('a logout in the browser does not end the tokens of the device', async () => {
  const { device_code: code, user_code: userCode } = await start();
  const agent = inBrowser();
  await approveDevice(server.issuer, userCode, agent);
  const tokens = toTokens(await poll(code));
  const page = await agent.visit('/oauth2/logout');
  await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(page.html, 'xsrf'), logout: 'yes' });
  expect((await refresh(server, tv, tokens.refreshToken)).status).toBe(200);
});
