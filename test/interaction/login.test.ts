// Attacks on the login and consent pages with requests that a browser would not send.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { eventually } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair, type UserAgent } from '../support/user-agent.ts';

const PASSWORD = 'a good long password';
let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer({
    LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '5',
    LANYARD_LOGIN_FAILURES_PER_ADDRESS: '1000',
  });
  app = await server.admin.createClient({ redirect_uris: ['https://app.example/cb'] });
});
afterAll(() => server.stop());

function authorizationUrl(params: Record<string, string> = {}): string {
  return `${server.issuer}/oauth2/authorize?${new URLSearchParams({
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: 'https://app.example/cb',
    scope: 'openid',
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    ...params,
  })}`;
}

async function openLogin(agent: UserAgent = createUserAgent(server.issuer)) {
  const page = await agent.visit(authorizationUrl());
  return { agent, action: formAction(page.html, 'login') };
}

async function guess(username: string, password: string) {
  const { agent, action } = await openLogin();
  return agent.submit(action, { username, password });
}

/** A page without what differs from request to request. */
const normalised = (html: string) =>
  html.replace(/\/interaction\/[\w-]+/g, '/interaction/…').replace(/value="[^"]*"/g, '');

describe('guessing passwords', () => {
  test('of thirty concurrent guesses five passwords are checked: more would be more chances per window', async () => {
    await server.admin.createUser('victim', PASSWORD);
    const pages = await Promise.all(Array.from({ length: 30 }, (_, n) => guess('victim', `guess number ${n}`)));
    const checked = pages.filter((page) => page.status === 403);
    const throttled = pages.filter((page) => page.status === 429);
    expect([checked.length, throttled.length]).toEqual([5, 25]);
    expect(Number(throttled[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    // The right one does not help now either: an attacker would learn it by the difference.
    expect((await guess('VICTIM', PASSWORD)).status).toBe(429);
    // One event for all of them: a row each would let strangers fill the disk.
    await eventually(async () => {
      const { rows } = await server.sql.query("SELECT detail FROM audit_events WHERE type = 'login.throttled'");
      expect(rows.reduce((sum, { detail }) => sum + detail.count, 0)).toBe(26);
      expect(rows.length).toBeLessThanOrEqual(2);
      for (const { detail } of rows)
        expect(detail).toMatchObject({ address: '127.0.0.1', last_at: expect.any(String) });
    });
  });

  test('X-Forwarded-For of a peer that is no trusted proxy gives no further attempts', async () => {
    const { agent, action } = await openLogin();
    const page = await agent.submit(
      action,
      { username: 'victim', password: 'x' },
      { 'x-forwarded-for': '198.51.100.7', forwarded: 'for=198.51.100.7' },
    );
    expect(page.status).toBe(429);
  });

  test('a success gives the attempts back', async () => {
    await server.admin.createUser('clumsy', PASSWORD);
    for (let round = 0; round < 3; round++) {
      for (let miss = 0; miss < 3; miss++) expect((await guess('clumsy', 'oops')).status).toBe(403);
      expect((await guess('clumsy', PASSWORD)).html).toContain('consent-page');
    }
  });

  test('unknown user, disabled user and wrong password look the same: an attacker would learn which accounts exist', async () => {
    await server.admin.createUser('typo', PASSWORD);
    const disabledId = await server.admin.createUser('disabled', PASSWORD);
    await server.admin.request('POST', `/users/${disabledId}/disable`);
    const answers = [await guess('typo', 'wrong'), await guess('unknown', 'wrong'), await guess('disabled', PASSWORD)];
    expect(new Set(answers.map((page) => `${page.status} ${normalised(page.html)}`)).size).toBe(1);
  });

  test('failures are counted per address too', async () => {
    const strict = await startTestServer({ LANYARD_LOGIN_FAILURES_PER_ADDRESS: '3' });
    const client = await strict.admin.createClient({ redirect_uris: ['https://app.example/cb'] });
    const statuses: number[] = [];
    for (const username of ['a', 'b', 'c', 'd']) {
      const agent = createUserAgent(strict.issuer);
      const url = authorizationUrl({ client_id: client.clientId }).replace(server.issuer, strict.issuer);
      const page = await agent.visit(url);
      statuses.push((await agent.submit(formAction(page.html, 'login'), { username, password: 'x' })).status);
    }
    await strict.stop();
    expect(statuses).toEqual([403, 403, 403, 429]);
  });

  test.each([
    ['nothing', {}],
    ['a name without end', { username: 'x'.repeat(10_000), password: 'x' }],
    ['a password without end', { username: 'typo', password: 'x'.repeat(10_000) }],
    ['members of every object', { __proto__: 'x', constructor: 'y', username: 'hasOwnProperty', password: 'toString' }],
  ] as [string, Record<string, string>][])('a form with %s is a wrong password', async (_what, fields) => {
    const { agent, action } = await openLogin();
    expect((await agent.submit(action, fields)).status).toBe(403);
  });

  test('what was typed is in no log and no audit event', async () => {
    await guess('my-password-in-the-wrong-field', 'my-secret-guess');
    const { rows } = await server.sql.query('SELECT string_agg(e::text, $1) AS events FROM audit_events e', ['\n']);
    const { rows: throttle } = await server.sql.query('SELECT string_agg(t::text, $1) AS keys FROM login_throttle t', [
      '',
    ]);
    for (const text of [server.logLines.join(''), rows[0].events, throttle[0].keys]) {
      expect(text).not.toMatch(/my-password-in-the-wrong-field|my-secret-guess/);
    }
  });
});

describe('forged requests', () => {
  test.each([
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['a neighbour under the same site', { 'sec-fetch-site': 'same-site' }],
    ['an old browser on another site', { 'sec-fetch-site': '', origin: 'https://evil.example' }],
  ])('a form sent from %s is refused: it could sign the victim in as the attacker', async (_from, headers) => {
    const { agent, action } = await openLogin();
    const page = await agent.submit(action, { username: 'clumsy', password: PASSWORD }, headers);
    expect(page.status).toBe(403);
    expect(page.html).toContain('id="error-page"');
    expect(page.html).toContain('foreign_origin');
  });

  test('the URL of a page without its cookie is refused: it would continue another user’s login', async () => {
    const { action } = await openLogin();
    const stranger = createUserAgent(server.issuer);
    for (const path of [action, action.replace('/login', '/consent'), action.replace('/login', '/cancel')]) {
      const page = await stranger.submit(path, { username: 'clumsy', password: PASSWORD });
      expect([page.status, page.html.includes('interaction_not_found')]).toEqual([400, true]);
      expect(page.html).not.toContain('code_challenge');
    }
  });

  test('consent cannot be given before signing in, nor for more than was requested', async () => {
    const { agent, action } = await openLogin();
    const early = await agent.submit(action.replace('/login', '/consent'), {});
    expect(early.status).toBe(400);
    const consent = await agent.submit(action, { username: 'clumsy', password: PASSWORD });
    const back = await agent.submit(formAction(consent.html, 'consent'), {
      scope: 'openid profile email offline_access',
    });
    expect(back.leavesTo?.searchParams.get('code')).toBeTruthy();
    const { rows } = await server.sql.query(
      "SELECT scopes FROM consents WHERE client_id = $1 AND resource_server = ''",
      [app.clientId],
    );
    expect(rows).toEqual([{ scopes: ['openid'] }]);
  });

  test('a repeated field and a form that is too large are refused', async () => {
    const { action, agent } = await openLogin();
    const cookie = agent.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    const send = (body: string) =>
      fetch(new URL(action, server.issuer), {
        method: 'POST',
        headers: { cookie, 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
        body,
      });
    expect((await send('username=a&username=b&password=x')).status).toBe(400);
    expect((await send(`username=a&password=${'x'.repeat(100_000)}`)).status).toBe(413);
  });

  test('the session cookie changes at login and is not readable by scripts: a session id planted before is useless', async () => {
    const agent = createUserAgent(server.issuer);
    const first = await agent.visit(authorizationUrl());
    const before = agent.cookies.find((cookie) => cookie.name === 'lanyard_session')?.value;
    const consent = await agent.submit(formAction(first.html, 'login'), { username: 'clumsy', password: PASSWORD });
    const after = agent.cookies.find((cookie) => cookie.name === 'lanyard_session')?.value;
    expect(after).toBeDefined();
    expect(after).not.toBe(before);
    const page = await fetch(authorizationUrl(), { redirect: 'manual' });
    for (const line of page.headers.getSetCookie()) expect(line).toMatch(/; httponly/i);
    for (const line of page.headers.getSetCookie()) expect(line).toMatch(/; samesite=lax/i);
    expect(consent.headers.get('content-security-policy')).not.toContain('unsafe-inline');
    expect(consent.headers.get('x-frame-options')).toBe('DENY');
    expect(consent.headers.get('cache-control')).toBe('no-store');
  });

  test('a logout needs the value from our page; a foreign redirect URI is not followed', async () => {
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(authorizationUrl());
    await agent.submit(formAction(login.html, 'login'), { username: 'clumsy', password: PASSWORD });
    expect((await agent.submit('/oauth2/logout/confirm', { logout: 'yes' })).status).toBe(400);
    const query = new URLSearchParams({ client_id: app.clientId, post_logout_redirect_uri: 'https://evil.example' });
    const refused = await agent.visit(`/oauth2/logout?${query}`);
    expect([refused.status, refused.html.includes('id="error-page"')]).toEqual([400, true]);
    expect((await agent.visit(authorizationUrl())).leavesTo?.searchParams.get('code')).toBeTruthy();
  });
});
