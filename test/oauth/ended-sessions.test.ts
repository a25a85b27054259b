// A session that has ended stays ended. Every request stores the session again at its end. One that
// started before the logout and ends after it must not restore the session, or an attacker could
// keep it by sending requests all the time.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { TestClient } from '../support/admin.ts';
import { countBlocked } from '../support/hold.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  refresh,
} from '../support/oauth.ts';
import { startOtherNode } from '../support/other-node.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type PageVisit, type UserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';

let server: TestServer;
let app: TestClient;
let api: TestClient;
let aliceId: string;

beforeAll(async () => {
  server = await startTestServer();
  api = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'], introspection_client_id: api.clientId });
  aliceId = await server.admin.createUser(ALICE.username, ALICE.password);
  app = await createApp();
});
afterAll(() => server.stop());

async function createApp(metadata: Record<string, unknown> = {}): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...metadata });
  await server.admin.allow(client.clientId, API, ['read']);
  return client;
}

async function sessionIds(): Promise<string[]> {
  const { body } = await server.admin.request('GET', `/users/${aliceId}/sessions`);
  return (body.items as { id: string }[]).map(({ id }) => id);
}

async function endAll(expected: readonly number[] = [204]): Promise<void> {
  for (const id of await sessionIds()) {
    expect(expected).toContain((await server.admin.request('DELETE', `/users/${aliceId}/sessions/${id}`)).status);
  }
}

async function revokeAll(): Promise<void> {
  expect((await server.admin.request('POST', `/users/${aliceId}/revoke-tokens`)).status).toBe(200);
}

function ask(agent: UserAgent): Promise<PageVisit> {
  const pkce = { code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' };
  return agent.visit(authorizationUrl(server.issuer, { client_id: app.clientId, prompt: 'none', ...pkce }));
}

async function isSignedIn(agent: UserAgent): Promise<boolean> {
  return (await ask(agent)).leavesTo?.searchParams.get('error') !== 'login_required';
}

interface LogoutPage {
  readonly agent: UserAgent;
  readonly xsrf: string;
}

async function logoutPage(agent: UserAgent): Promise<LogoutPage> {
  const { html } = await agent.visit(`${server.issuer}/oauth2/logout?client_id=${app.clientId}`);
  return { agent, xsrf: /name="xsrf" value="([^"]*)"/.exec(html)?.[1] as string };
}

function answer({ agent, xsrf }: LogoutPage, fields: Record<string, string>): Promise<PageVisit> {
  return agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, ...fields });
}

/** Locks the sessions: until `release` they can be read but not written. */
async function holdSessions(): Promise<{ release(): Promise<void> }> {
  const holder = new pg.Client({ connectionString: server.connectionString });
  await holder.connect();
  await holder.query("BEGIN; SELECT 1 FROM oidc_artifacts WHERE model = 'Session' FOR UPDATE");
  return {
    async release() {
      await holder.query('COMMIT');
      await holder.end();
    },
  };
}

describe.each([
  // 404: the logout of the user was first
  ['ends the session', () => endAll([204, 404])],
  ['revokes all tokens of the user', revokeAll],
])('an operator who %s while the user signs out', (_name, end) => {
  test.each(['operator', 'user'])('does not deadlock when the %s is first', async (first) => {
    const agent = createUserAgent(server.issuer);
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API }, { agent });
    const page = await logoutPage(agent);
    const signOut = async () => expect((await answer(page, { logout: 'yes' })).status).toBeLessThan(400);
    const steps = [end, signOut];
    if (first === 'user') steps.reverse();
    const held = await holdSessions();
    const answers: Promise<void>[] = [];
    for (const step of steps) {
      answers.push(step());
      await until(async () => (await countBlocked(server.sql)) === answers.length);
    }
    await held.release();
    await Promise.all(answers);
    expect(await isSignedIn(agent)).toBe(false);
    expect(await isActive(server, api, accessToken)).toBe(false);
  });
});

describe('a request that started before the end and ends after it does not restore the session', () => {
  const endings: [string, (page: LogoutPage) => Promise<unknown>][] = [
    ['an operator', () => endAll()],
    ['the user in another window', (page) => answer(page, { logout: 'yes' })],
  ];

  test.each(endings)('when it was ended by %s', async (_name, end) => {
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, app, {}, { agent });
    expect(await isSignedIn(agent)).toBe(true);
    const page = await logoutPage(agent);
    const other = createUserAgent(server.issuer, agent.cookies);
    const held = await holdSessions();
    const ending = end(page);
    await until(async () => (await countBlocked(server.sql)) === 1);
    const late = ask(other);
    await until(async () => (await countBlocked(server.sql)) === 2);
    await held.release();
    await Promise.all([ending, late]);
    expect(await isSignedIn(other)).toBe(false);
    expect(await sessionIds()).toEqual([]);
  });

  test('when it gives the session a new id meanwhile', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, app, {}, { agent });
    const page = await logoutPage(agent);
    const held = await holdSessions();
    const ending = endAll();
    await until(async () => (await countBlocked(server.sql)) === 1);
    const late = answer(page, {});
    await until(async () => (await countBlocked(server.sql)) === 2);
    await held.release();
    await Promise.all([ending, late]);
    expect(await isSignedIn(agent)).toBe(false);
    expect(await sessionIds()).toEqual([]);
  });

  test('a user who stays signed in keeps the session, with a new id', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, app, {}, { agent });
    const before = await sessionIds();
    const cookies = agent.cookies.map(({ value }) => value);
    await answer(await logoutPage(agent), {});
    expect(agent.cookies.map(({ value }) => value)).not.toEqual(cookies);
    expect(await isSignedIn(agent)).toBe(true);
    expect(await sessionIds()).toEqual(before);
    await endAll();
  });
});

describe('a login whose password was checked before, and that goes on after', () => {
  const change = async (method: string, path: string, body?: object) =>
    expect((await server.admin.request(method, path, body)).status).toBe(200);

  test.each<[string, (userPath: string) => Promise<void>]>([
    [
      'the user was disabled and enabled',
      async (userPath) => {
        await change('POST', `${userPath}/disable`);
        await change('POST', `${userPath}/enable`);
      },
    ],
    ['the password was changed', (userPath) => change('PATCH', userPath, { password: 'a password that is new' })],
    ['everything was revoked', (userPath) => change('POST', `${userPath}/revoke-tokens`)],
  ])('%s: gets no code; who knew the old password would get tokens with it', async (name, end) => {
    const user = { username: name, password: ALICE.password };
    const userPath = `/users/${await server.admin.createUser(user.username, user.password)}`;
    // Nothing is asked after the password any more.
    await obtainCode(server, app, {}, { user });
    let resumed = 0;
    const agent = createUserAgent(server.issuer, [], async (url, init) => {
      if (url.pathname.startsWith('/oauth2/authorize/') && resumed++ === 0) await end(userPath);
      return fetch(url, init);
    });
    const pkce = { code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' };
    const login = await agent.visit(authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce }));
    const page = await agent.submit(formAction(login.html, 'login'), user);
    expect(resumed).toBe(1);
    expect(page.leavesTo).toBeUndefined();
    expect(page.html).toContain('This page is no longer valid');
    expect(await isSignedIn(agent)).toBe(false);
  });
});

test('the session and the code of a user who was disabled do not come back when the user is enabled', async () => {
  const user = { username: 'bob', password: ALICE.password };
  const userPath = `/users/${await server.admin.createUser(user.username, user.password)}`;
  const agent = createUserAgent(server.issuer);
  const issued = await obtainCode(server, app, {}, { agent, user });
  for (const action of ['disable', 'enable']) {
    expect((await server.admin.request('POST', `${userPath}/${action}`)).status).toBe(200);
  }
  expect(await isSignedIn(agent)).toBe(false);
  expect((await exchange(server, app, issued)).body.error).toBe('invalid_grant');
  expect((await server.admin.request('GET', `${userPath}/sessions`)).body.items).toEqual([]);
  await obtainCode(server, app, {}, { agent, user });
});

test('when an operator ends a session, its tokens are inactive on the other node at once', async () => {
  const other = await startOtherNode(server);
  try {
    const { accessToken, refreshToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
    const isActiveThere = async (token: string, caller: TestClient) =>
      (await other.post('/oauth2/introspect', caller, { token })).body.active;
    expect(await isActiveThere(accessToken, api)).toBe(true);
    expect(await isActiveThere(refreshToken, app)).toBe(true);
    await endAll();
    expect(await isActiveThere(accessToken, api)).toBe(false);
    expect(await isActiveThere(refreshToken, app)).toBe(false);
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
    expect((await other.post('/oauth2/token', app, form)).body.error).toBe('invalid_grant');
  } finally {
    await other.stop();
  }
});

test('tokens with offline_access outlive the session, unless the client has revoke_tokens_on_logout by then', async () => {
  const [keeps, givesUp] = [await createApp(), await createApp()];
  const agent = createUserAgent(server.issuer);
  const request = { scope: 'openid offline_access read', resource: API, prompt: 'consent' };
  const kept = await obtainTokens(server, keeps, request, { agent });
  const given = await obtainTokens(server, givesUp, request, { agent });
  const { status } = await server.admin.request('PATCH', `/clients/${givesUp.clientId}`, {
    revoke_tokens_on_logout: true,
  });
  expect(status).toBe(200);
  await endAll();
  expect(await isActive(server, api, kept.accessToken)).toBe(true);
  expect((await refresh(server, keeps, kept.refreshToken)).status).toBe(200);
  expect(await isActive(server, api, given.accessToken)).toBe(false);
  expect((await refresh(server, givesUp, given.refreshToken)).body.error).toBe('invalid_grant');
});
