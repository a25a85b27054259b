// The device flow (RFC 8628). The honest device is openid-client; the user has a browser elsewhere.
// The attacker guesses codes, sends a user a link, or polls the token endpoint.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { initiateDeviceAuthorization, pollDeviceAuthorizationGrant } from 'openid-client';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { approveDevice, confirmDevice, DEVICE_GRANT, hidden, typeUserCode } from '../support/device.ts';
import { ALICE, authorizationUrl, CODE_FLOW, honest, PUBLIC, refresh, tally, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type UserAgent } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let tv: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  tv = await server.admin.createClient({
    ...PUBLIC,
    client_name: 'Television <3',
    grant_types: [DEVICE_GRANT, 'refresh_token'],
  });
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['read'] });
  await server.admin.allow(tv.clientId, ORDERS, ['read']);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

interface DeviceStart {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete: string;
  readonly interval: number;
  readonly expires_in: number;
}

async function start(form: Record<string, string> = {}, client = tv): Promise<DeviceStart> {
  const all = { scope: 'openid read offline_access', resource: ORDERS, ...form };
  const { status, body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, all);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body as unknown as DeviceStart;
}

function poll(deviceCode: string, client = tv) {
  return requestToken(server.issuer, client, { grant_type: DEVICE_GRANT, device_code: deviceCode });
}

const typeCode = (agent: UserAgent, userCode: string) => typeUserCode(server.issuer, agent, userCode);
const approve = (userCode: string, agent?: UserAgent) => approveDevice(server.issuer, userCode, agent);

test('a device with openid-client polls while the user enters the code and signs in, and gets bound tokens', async () => {
  const configuration = await honest(server, tv);
  const started = await initiateDeviceAuthorization(configuration, {
    scope: 'openid read offline_access',
    resource: ORDERS,
  });
  expect(started.interval).toBe(5);
  const polling = pollDeviceAuthorizationGrant(configuration, { ...started, interval: 0.2 });
  const page = await approve(started.user_code);
  expect(page.html).toContain('id="device-done"');
  const tokens = await polling;
  expect(decodeJwt(tokens.access_token)).toMatchObject({
    client_id: tv.clientId,
    azp: tv.clientId,
    aud: ORDERS,
    scope: 'openid offline_access read',
  });
  expect(tokens.claims()).toMatchObject({ azp: tv.clientId });
  const refreshed = toTokens(await refresh(server, tv, tokens.refresh_token as string));
  expect(decodeJwt(refreshed.accessToken)).toMatchObject({ client_id: tv.clientId, azp: tv.clientId, aud: ORDERS });
  const { body } = await server.admin.request('GET', `/audit-events?type=device.authorized&client_id=${tv.clientId}`);
  expect(body.items).toHaveLength(1);
});

test('the response to the device', async () => {
  const started = await start();
  expect(started).toEqual({
    device_code: expect.any(String),
    user_code: expect.stringMatching(/^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$/),
    verification_uri: `${server.issuer}/oauth2/device`,
    verification_uri_complete: `${server.issuer}/oauth2/device?user_code=${started.user_code}`,
    expires_in: 600,
    interval: 5,
  });
});

test('the code may be entered in lower case and without the hyphen', async () => {
  const { user_code } = await start();
  const agent = createUserAgent(server.issuer);
  const { html } = await typeCode(agent, user_code.toLowerCase().replace('-', ' '));
  expect(html).toContain('id="device-confirm"');
});

test('the page shows which app requests what, and from where', async () => {
  const claims = JSON.stringify({ userinfo: { nickname: null, '\u202eliame': null }, id_token: { locale: null } });
  const { user_code } = await start({ claims });
  const { html, headers } = await typeCode(createUserAgent(server.issuer), user_code);
  expect(html).toContain('Television &lt;3');
  expect(html).toContain(user_code);
  expect(html).toMatch(/Orders[\s\S]*<code>read<\/code>/);
  for (const claim of ['nickname', 'locale', '\\u202eliame']) expect(html).toContain(`<code>${claim}</code>`);
  expect(html).toMatch(/127\.0\.0\.1|::1/);
  expect(headers.get('content-security-policy')).toContain("form-action 'self'");
});

test('a user is asked once: what the page has named is allowed when the user has signed in', async () => {
  const client = await server.admin.createClient({ ...PUBLIC, grant_types: [DEVICE_GRANT, 'refresh_token'] });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  const agent = createUserAgent(server.issuer);
  const claims = JSON.stringify({ userinfo: { nickname: null } });
  const started = await start({ claims }, client);
  const login = await confirmDevice(agent, await typeCode(agent, started.user_code));
  expect((await poll(started.device_code, client)).body.error).toBe('authorization_pending');
  const done = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
  expect(done.html).toContain('id="device-done"');
  expect(done.html).toContain(ALICE.username);
  expect((await poll(started.device_code, client)).body).toMatchObject({ scope: 'openid offline_access read' });
  const { body } = await server.admin.request('GET', `/audit-events?type=consent.granted&client_id=${client.clientId}`);
  expect(body.items).toEqual([
    expect.objectContaining({
      detail: expect.objectContaining({
        scopes: ['openid', 'offline_access'],
        resource_servers: { [ORDERS]: ['read'] },
        claims: ['nickname'],
      }),
    }),
  ]);
  // With a session: the page names the user, and the next one is the last.
  const again = await start({ scope: 'openid email' }, client);
  const page = await typeCode(agent, again.user_code);
  expect(page.html).toMatch(/signed in as\s+<strong><bdi>alice/);
  expect((await confirmDevice(agent, page)).html).toContain('id="device-done"');
});

test('what an authorization request asks for is shown at its own page, whatever was confirmed for a device', async () => {
  const app = await server.admin.createClient({ ...CODE_FLOW, grant_types: ['authorization_code', DEVICE_GRANT] });
  const agent = createUserAgent(server.issuer);
  await approve((await start({ scope: 'openid', resource: '' }, app)).user_code, agent);
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    scope: 'openid email',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  });
  expect((await agent.visit(url)).html).toContain('id="consent-page"');
});

describe('remote phishing (RFC 8628 §5.4): a user opens a link of the attacker’s device', () => {
  test('opening the link grants nothing: the confirmation page is shown, also with a session', async () => {
    const agent = createUserAgent(server.issuer);
    await approve((await start()).user_code, agent);
    const started = await start();
    const page = await agent.visit(started.verification_uri_complete);
    expect(page.html).not.toContain('device-done');
    // A browser submits this intermediate form by itself.
    const next = await agent.submit('/oauth2/device', {
      xsrf: hidden(page.html, 'xsrf'),
      user_code: hidden(page.html, 'user_code'),
    });
    expect(next.html).toContain('id="device-confirm"');
    expect((await poll(started.device_code)).body.error).toBe('authorization_pending');
  });

  test('a cross-site form does not confirm', async () => {
    const started = await start();
    const agent = createUserAgent(server.issuer);
    await approve((await start()).user_code, agent);
    const forged = await agent.submit('/oauth2/device', {
      xsrf: 'guessed',
      user_code: started.user_code,
      confirm: 'yes',
    });
    expect(forged.html).not.toContain('device-done');
    expect((await poll(started.device_code)).body.error).toBe('authorization_pending');
  });

  test('a refusal is final', async () => {
    const started = await start();
    const agent = createUserAgent(server.issuer);
    const page = await confirmDevice(agent, await typeCode(agent, started.user_code), { abort: 'yes' });
    expect(page.html).toContain('You have refused');
    expect((await poll(started.device_code)).body.error).toBe('access_denied');
    const { html } = await typeCode(createUserAgent(server.issuer), started.user_code);
    expect(html).not.toContain('id="device-confirm"');
  });
});

describe('at the token endpoint', () => {
  test('a device that polls too often gets slow_down, and its tokens later', async () => {
    const started = await start();
    expect((await poll(started.device_code)).body.error).toBe('authorization_pending');
    for (let again = 0; again < 3; again++) {
      expect((await poll(started.device_code)).body.error).toBe('slow_down');
    }
    const { rows } = await server.sql.query('SELECT max(interval_seconds) AS seconds FROM device_polls');
    expect(rows).toEqual([{ seconds: 20 }]);
    await approve(started.user_code);
    expect((await poll(started.device_code)).status).toBe(200);
  });

  test('the code of another client is refused', async () => {
    const otherClient = await server.admin.createClient({ ...PUBLIC, grant_types: [DEVICE_GRANT] });
    const started = await start();
    await approve(started.user_code);
    expect((await poll(started.device_code, otherClient)).body.error).toBe('invalid_grant');
    expect((await poll(started.device_code)).status).toBe(200);
  });

  test('of 20 requests at once, one gets tokens', async () => {
    const started = await start();
    await approve(started.user_code);
    const answers = await Promise.all(Array.from({ length: 20 }, () => poll(started.device_code)));
    expect(tally(answers).succeeded).toBe(1);
    expect((await poll(started.device_code)).body.error).toBe('invalid_grant');
  });

  test('a client that is disabled in between', async () => {
    const client = await server.admin.createClient({ ...PUBLIC, grant_types: [DEVICE_GRANT] });
    await server.admin.allow(client.clientId, ORDERS, ['read']);
    const started = await start({}, client);
    await approve(started.user_code);
    await server.admin.request('POST', `/clients/${client.clientId}/disable`);
    expect((await poll(started.device_code, client)).body).not.toHaveProperty('access_token');
  });

  test('a client that did not register the grant', async () => {
    const plain = await server.admin.createClient();
    const { status } = await postForm(`${server.issuer}/oauth2/device_authorization`, plain, { scope: 'openid' });
    expect(status).toBe(400);
  });
});

test('a copy of the database contains neither the codes nor the parameters of the request', async () => {
  const started = await start({ login_hint: 'hinted-user@secret.example' });
  const { rows } = await server.sql.query(
    `SELECT payload::text || coalesce(user_code, '') AS text FROM oidc_artifacts WHERE model = 'DeviceCode'`,
  );
  const all = rows.map(({ text }) => text).join();
  for (const secret of [started.device_code, started.user_code, started.user_code.replace('-', ''), 'hinted-user']) {
    expect(all).not.toContain(secret);
  }
});

test('guessing user codes is limited', async () => {
  const agent = createUserAgent(server.issuer);
  let xsrf = hidden((await agent.visit(`${server.issuer}/oauth2/device?user_code=BBBB-BBBB`)).html, 'xsrf');
  const guess = async () => {
    const page = await agent.submit('/oauth2/device', { xsrf, user_code: 'BBBB-BBBB' });
    xsrf = /name="xsrf" value="([^"]*)"/.exec(page.html)?.[1] ?? xsrf;
    return page;
  };
  const wrong = await guess();
  expect([wrong.status, wrong.html.includes('There is no such code')]).toEqual([400, true]);
  const statuses = [];
  for (let attempt = 0; attempt < 25; attempt++) statuses.push((await guess()).status);
  expect(statuses.at(-1)).toBe(429);
  expect(statuses.filter((status) => status === 400).length).toBeLessThanOrEqual(20);
  await server.sql.query('DELETE FROM login_throttle');
});

test('discovery', async () => {
  const metadata = await (await fetch(`${server.issuer}/.well-known/oauth-authorization-server`)).json();
  expect(metadata).toMatchObject({
    device_authorization_endpoint: `${server.issuer}/oauth2/device_authorization`,
    grant_types_supported: expect.arrayContaining([DEVICE_GRANT]),
  });
});
