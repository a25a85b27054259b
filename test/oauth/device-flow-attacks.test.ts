// The device flow (RFC 8628) when things go wrong: codes in the wrong hands, people who change their mind, devices that do not
// wait for their answer, time that has passed.

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { approveDevice, confirmDevice, DEVICE_GRANT, hidden, typeUserCode } from '../support/device.ts';
import { ALICE, eventually, isActive, PUBLIC, refresh, tally, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';
import { createUserAgent, formAction } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BOB = { username: 'bob', password: 'correct horse battery' };

let server: TestServer;
let tv: TestClient;
let bobId: string;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createApi(ORDERS, { scopes: ['read'] });
  tv = await newDevice();
  await server.admin.createUser(ALICE.username, ALICE.password);
  bobId = await server.admin.createUser(BOB.username, BOB.password);
});
afterAll(() => server.stop());
afterEach(() => {
  jest.restoreAllMocks();
});

async function newDevice(members: Record<string, unknown> = {}): Promise<TestClient> {
  const client = await server.admin.createClient({
    ...PUBLIC,
    grant_types: [DEVICE_GRANT, 'refresh_token'],
    ...members,
  });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  return client;
}

async function start(client = tv): Promise<{ device_code: string; user_code: string }> {
  const form = { scope: 'openid read offline_access', resource: ORDERS };
  const { status, body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, form);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body as never;
}

const grant = (deviceCode: string) => ({ grant_type: DEVICE_GRANT, device_code: deviceCode });
const poll = (deviceCode: string, client = tv) => requestToken(server.issuer, client, grant(deviceCode));
const inBrowser = () => createUserAgent(server.issuer);

/** The login page, after the code was typed in and confirmed. */
async function confirmed(userCode: string, agent = inBrowser()) {
  return confirmDevice(agent, await typeUserCode(server.issuer, agent, userCode));
}

/** In the audit log, where it is written after the answer. */
async function denials(client: TestClient): Promise<number> {
  const path = `/audit-events?type=device.denied&client_id=${client.clientId}`;
  const count = async () => ((await server.admin.request('GET', path)).body.items as unknown[]).length;
  await eventually(async () => expect(await count()).toBeGreaterThan(0));
  return count();
}

describe('the code of a device in other hands', () => {
  test('another client that polls it is refused as if it were made up, and does not slow the device down', async () => {
    const thief = await newDevice();
    const { device_code: code } = await start();
    const madeUp = await poll('made-up', thief);
    for (let again = 0; again < 3; again++) expect((await poll(code, thief)).body).toEqual(madeUp.body);
    expect((await poll(code)).body.error).toBe('authorization_pending');
  });

  test('two people with the same code: the second is told, and cannot put himself in the place of the first', async () => {
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

  test('a code in a link is text, whatever it is', async () => {
    const query = new URLSearchParams({ user_code: '"><script>alert(1)</script>' });
    const page = await inBrowser().visit(`${server.issuer}/oauth2/device?${query}`);
    expect(page.html).not.toContain('<script>alert');
    const next = await inBrowser().submit('/oauth2/device', { user_code: '"><script>alert(1)</script>', xsrf: 'x' });
    expect(next.html).not.toContain('<script>alert');
  });
});

describe('a person who changes his mind', () => {
  test.each(['login', 'consent'] as const)('cancels at the %s page: the device is refused', async (where) => {
    const client = await newDevice();
    const { device_code: code, user_code: userCode } = await start(client);
    const agent = inBrowser();
    let page = await confirmed(userCode, agent);
    if (where === 'consent') page = await agent.submit(formAction(page.html, 'login'), { ...ALICE });
    expect(page.html).toContain(`id="${where}-page"`);
    const end = await agent.submit(formAction(page.html, 'cancel'), {});
    expect(end.html).toContain('You have refused');
    expect((await poll(code, client)).body).toMatchObject({ error: 'access_denied' });
    expect(await denials(client)).toBe(1);
  });

  test('refuses where the code was typed in: that is written down too', async () => {
    const client = await newDevice();
    const agent = inBrowser();
    const page = await typeUserCode(server.issuer, agent, (await start(client)).user_code);
    await confirmDevice(agent, page, { abort: 'yes' });
    expect(await denials(client)).toBe(1);
  });

  test('signs out in another tab meanwhile: the page is stale, and leads to where a code can be typed in', async () => {
    const client = await newDevice();
    const { device_code: code, user_code: userCode } = await start(client);
    const agent = inBrowser();
    const login = await confirmed(userCode, agent);
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    const logout = await agent.visit('/oauth2/logout');
    await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(logout.html, 'xsrf'), logout: 'yes' });
    const stale = await agent.submit(formAction(consent.html, 'consent'), {});
    expect(stale.html).toContain('This page is no longer valid');
    const restart = /id="restart"[^>]* href="([^"]*)"/.exec(stale.html)?.[1] as string;
    expect((await agent.visit(restart)).html).toContain('id="user-code-page"');
    expect((await poll(code, client)).body.error).toBe('authorization_pending');
  });
});

describe('a device that does not wait for its answer', () => {
  test('of 20 requests at once one gets tokens, which are void: somebody has used its code a second time', async () => {
    const client = await newDevice();
    const { device_code: code, user_code: userCode } = await start(client);
    await approveDevice(server.issuer, userCode);
    const answers = await Promise.all(Array.from({ length: 20 }, () => poll(code, client)));
    expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
    const tokens = toTokens(answers.find(({ status }) => status === 200) as never);
    await eventually(async () => {
      expect(await isActive(server, client, tokens.accessToken)).toBe(false);
      expect(await isActive(server, client, tokens.refreshToken)).toBe(false);
    });
    const { body } = await server.admin.request(
      'GET',
      `/audit-events?type=token.replayed&client_id=${client.clientId}`,
    );
    expect((body.items as unknown[]).length).toBeGreaterThanOrEqual(1);
  });
});

describe('time that has passed', () => {
  test('a code that nobody typed in', async () => {
    const { device_code: code, user_code: userCode } = await start();
    const now = Date.now();
    jest.spyOn(Date, 'now').mockImplementation(() => now + 601_000);
    expect((await poll(code)).body.error).toBe('expired_token');
    const page = await typeUserCode(server.issuer, inBrowser(), userCode);
    expect([page.status, page.html.includes('The code has expired')]).toEqual([400, true]);
  });

  test('a code that was allowed, but not fetched in time, gives nothing', async () => {
    const { device_code: code, user_code: userCode } = await start();
    await approveDevice(server.issuer, userCode);
    const now = Date.now();
    jest.spyOn(Date, 'now').mockImplementation(() => now + 601_000);
    expect((await poll(code)).body).toMatchObject({ error: 'expired_token' });
  });

  test('a user who was disabled after he allowed it', async () => {
    const { device_code: code, user_code: userCode } = await start();
    const agent = inBrowser();
    const login = await confirmed(userCode, agent);
    const consent = await agent.submit(formAction(login.html, 'login'), { ...BOB });
    const done = await agent.submit(formAction(consent.html, 'consent'), {});
    expect(done.html).toContain('id="device-done"');
    await server.admin.request('POST', `/users/${bobId}/disable`);
    expect((await poll(code)).body).toMatchObject({ error: 'invalid_grant' });
  });
});

test('a device with a key has tokens that are bound to it, and nobody refreshes without (RFC 9449 §5)', async () => {
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

test('who signs out of the browser does not switch off the television', async () => {
  const { device_code: code, user_code: userCode } = await start();
  const agent = inBrowser();
  await approveDevice(server.issuer, userCode, agent);
  const tokens = toTokens(await poll(code));
  const page = await agent.visit('/oauth2/logout');
  await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(page.html, 'xsrf'), logout: 'yes' });
  expect((await refresh(server, tv, tokens.refreshToken)).status).toBe(200);
});
