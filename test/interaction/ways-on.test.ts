// What this server is, said to people who open it; and where people can go from pages at which nothing else goes on.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { hidden } from '../support/device.ts';
import { ALICE, authorizationUrl, CODE_FLOW, obtainCode, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type UserAgent } from '../support/user-agent.ts';

const HOME = 'https://app.example/';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_DANGER_OPEN_REGISTRATION: 'true' });
  app = await server.admin.createClient({ ...CODE_FLOW, client_name: 'Corner Shop', client_uri: HOME });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

const ask = (params: Record<string, string> = {}) =>
  authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
    ...params,
  });

/** Where the links of a page lead. */
const linksOf = (html: string) => [...html.matchAll(/<a [^>]*href="([^"]*)"/g)].map(([, href]) => href);

async function signedIn(clients = [app]): Promise<UserAgent> {
  const agent = createUserAgent(server.issuer);
  for (const client of clients) await obtainCode(server, client, {}, { agent });
  return agent;
}

async function registerItself(): Promise<TestClient> {
  const registered = await fetch(`${server.issuer}/oauth2/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...PUBLIC, redirect_uris: [REDIRECT_URI], client_uri: 'https://evil.example/' }),
  });
  const { client_id: clientId } = (await registered.json()) as { client_id: string };
  return { clientId, clientSecret: '' };
}

describe('the start page', () => {
  test('says to a browser what this is, and leads on', async () => {
    const page = await createUserAgent(server.issuer).visit('/');
    expect([page.status, page.html.includes('id="start-page"')]).toEqual([200, true]);
    expect(linksOf(page.html)).toEqual([
      '/oauth2/device',
      '/.well-known/openid-configuration',
      '/admin/v1/openapi.json',
    ]);
    for (const path of linksOf(page.html)) {
      expect((await fetch(`${server.issuer}${path}`)).status).toBe(200);
    }
    // An attacker would look for the weaknesses of a version.
    expect(page.html.replace(/<style>.*<\/style>/s, '')).not.toMatch(/\d+\.\d+\.\d+/);
    expect(page.headers.get('vary')).toContain('Accept');
  });

  test.each([['application/json'], ['*/*'], ['application/json, text/html;q=0.5']])(
    'is not for a client that accepts %s',
    async (accept) => {
      const response = await fetch(server.issuer, { headers: { accept } });
      expect([response.status, response.headers.get('content-type')]).toEqual([
        404,
        expect.stringContaining('application/problem+json'),
      ]);
    },
  );

  test('lists the apps of the session, but not software that registered itself', async () => {
    const agent = await signedIn([app, await registerItself()]);
    const page = await agent.visit('/');
    expect(linksOf(page.html)).toContain(HOME);
    expect(page.html).toContain('Go to Corner Shop');
    expect(page.html).not.toContain('evil.example');
    expect(linksOf(page.html)).toContain('/oauth2/logout');
  });
});

describe('a way on from', () => {
  test('a login page that was left, by the back button: the app', async () => {
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(ask());
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    if (consent.leavesTo === undefined) await agent.submit(formAction(consent.html, 'consent'), {});
    const back = await agent.visit(login.url);
    expect([back.status, linksOf(back.html)]).toEqual([400, [HOME]]);
  });

  test('the same page in a browser that is not signed in: the start page', async () => {
    const back = await createUserAgent(server.issuer).visit('/interaction/left');
    expect([back.status, linksOf(back.html)]).toEqual([400, ['/']]);
  });

  test('a form that was refused: its page', async () => {
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(ask());
    const page = await agent.submit(formAction(login.html, 'login'), {}, { 'sec-fetch-site': 'cross-site' });
    expect([page.status, linksOf(page.html)]).toEqual([403, [new URL(login.url).pathname]]);
  });

  test.each([
    ['of an unknown app: the start page', { client_id: 'unknown' }, '/'],
    ['to an address that is not registered: the app', { redirect_uri: 'https://evil.example/' }, HOME],
  ])('a request %s', async (_which, params, href) => {
    const page = await createUserAgent(server.issuer).visit(ask(params));
    expect([page.status, linksOf(page.html)]).toEqual([400, [href]]);
  });

  test('a faulty request of software that registered itself: the start page, not an address that it has chosen', async () => {
    const { clientId } = await registerItself();
    const request = ask({ client_id: clientId, redirect_uri: 'https://evil.example/other' });
    const page = await createUserAgent(server.issuer).visit(request);
    expect([page.status, linksOf(page.html)]).toEqual([400, ['/']]);
  });

  test('a logout that was refused: a logout without the app; and when it is done, the start page', async () => {
    const agent = await signedIn();
    const query = new URLSearchParams({ client_id: app.clientId, post_logout_redirect_uri: 'https://evil.example' });
    const refused = await agent.visit(`/oauth2/logout?${query}`);
    expect([refused.status, linksOf(refused.html)]).toEqual([400, ['/oauth2/logout']]);
    const asked = await agent.visit('/oauth2/logout');
    const done = await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(asked.html, 'xsrf'), logout: 'yes' });
    expect(done.html).toContain('You are signed out');
    expect(linksOf(done.html)).toEqual(['/']);
  });

  test('too many wrong codes: the page for the code', async () => {
    const agent = createUserAgent(server.issuer);
    let page = await agent.visit('/oauth2/device');
    for (let guess = 0; guess < 30 && page.status !== 429; guess++) {
      page = await agent.submit('/oauth2/device', { xsrf: hidden(page.html, 'xsrf'), user_code: 'BBBB-BBBB' });
    }
    expect([page.status, linksOf(page.html)]).toEqual([429, ['/oauth2/device']]);
  });
});
