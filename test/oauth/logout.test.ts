// RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0), back-channel logout (Back-Channel
// Logout 1.0), and sessions that an operator ends. After a logout, neither the session nor its
// tokens can be used, and the apps are notified.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import type { TestClient } from '../support/admin.ts';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  PUBLIC,
  refresh,
  toTokens,
  type UserTokens,
} from '../support/oauth.ts';
import { eventually, until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, type PageVisit, type UserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';
const BYE = 'https://app.example/bye';

let receiver: LogoutReceiver;
let server: TestServer;
let api: TestClient;
let aliceId: string;

beforeAll(async () => {
  receiver = await startLogoutReceiver();
  server = await startTestServer({ LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: receiver.host });
  api = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'], introspection_client_id: api.clientId });
  aliceId = await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  await server.stop();
  receiver.close();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.answerWith((response) => response.end());
});

async function createApp(metadata: Record<string, unknown> = {}): Promise<TestClient> {
  const app = await server.admin.createClient({ ...CODE_FLOW, post_logout_redirect_uris: [BYE], ...metadata });
  await server.admin.allow(app.clientId, API, ['read']);
  return app;
}

function signIn(app: TestClient, agent: UserAgent, scope = 'openid'): Promise<UserTokens> {
  return obtainTokens(server, app, { scope }, { agent });
}

function logoutPage(agent: UserAgent, params: Record<string, string> = {}): Promise<PageVisit> {
  return agent.visit(`${server.issuer}/oauth2/logout?${new URLSearchParams(params)}`);
}

function confirm(agent: UserAgent, page: PageVisit, answer: Record<string, string> = { logout: 'yes' }) {
  const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.html)?.[1] as string;
  return agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, ...answer });
}

async function signOut(agent: UserAgent): Promise<PageVisit> {
  return confirm(agent, await logoutPage(agent));
}

/** Whether this browser would get a code without a login page. */
async function isSignedIn(agent: UserAgent, app: TestClient): Promise<boolean> {
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    prompt: 'none',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  });
  return (await agent.visit(url)).leavesTo?.searchParams.get('error') !== 'login_required';
}

describe('RP-initiated logout', () => {
  test('asks the user, ends the session, and redirects to the app with its state', async () => {
    const app = await createApp({ client_name: 'Corner Shop' });
    const agent = createUserAgent(server.issuer);
    const { idToken } = await signIn(app, agent);
    const page = await logoutPage(agent, {
      id_token_hint: idToken,
      post_logout_redirect_uri: BYE,
      state: 'a state & more',
    });
    expect(page.html).toContain('id="logout-page"');
    expect(page.html).toContain('Corner Shop');
    expect(await isSignedIn(agent, app)).toBe(true);
    const left = await confirm(
      agent,
      await logoutPage(agent, { id_token_hint: idToken, post_logout_redirect_uri: BYE, state: 'a state & more' }),
    );
    expect(left.leavesTo?.href.split('?')[0]).toBe(BYE);
    expect(left.leavesTo?.searchParams.get('state')).toBe('a state & more');
    expect(await isSignedIn(agent, app)).toBe(false);
  });

  test.each([
    ['another URI of the app', { post_logout_redirect_uri: 'https://app.example/bye/more' }],
    ['a URI of another site', { post_logout_redirect_uri: 'https://evil.example' }],
    ['a hint of another app', { id_token_hint: 'ofAnotherApp' }],
    ['a hint with a wrong signature', { id_token_hint: 'tampered' }],
    ['a malformed hint', { id_token_hint: 'malformed' }],
    ['a hint without a signature', { id_token_hint: 'unsigned' }],
    ['a hint for several apps', { client_id: '', id_token_hint: 'several' }],
    ['a hint without an audience', { client_id: '', id_token_hint: 'withoutAudience' }],
    ['an app that does not exist', { client_id: 'unknown', id_token_hint: '' }],
  ])(
    '%s is refused with an error page, and the session does not end',
    async (_name, change: Record<string, string>) => {
      const app = await createApp();
      const agent = createUserAgent(server.issuer);
      const { idToken } = await signIn(app, agent);
      const { idToken: ofAnotherApp } = await signIn(await createApp(), agent);
      const [header, payload] = idToken.split('.');
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const hints: Record<string, string> = {
        ofAnotherApp,
        tampered: `${idToken.slice(0, -8)}AAAAAAAA`,
        malformed: 'a.b.c',
        unsigned: `${part({ alg: 'none' })}.${payload}.`,
        several: `${header}.${part({ aud: [app.clientId] })}.x`,
        withoutAudience: `${header}.${part({ sub: aliceId })}.x`,
      };
      const all = { client_id: app.clientId, id_token_hint: idToken, post_logout_redirect_uri: BYE, ...change };
      const params = Object.fromEntries(
        Object.entries(all).flatMap(([key, value]) => (value === '' ? [] : [[key, hints[value] ?? value]])),
      );
      const page = await logoutPage(agent, params);
      expect(page.status).toBe(400);
      expect(page.html).toContain('id="error-page"');
      expect(page.leavesTo).toBeUndefined();
      expect(await isSignedIn(agent, app)).toBe(true);
    },
  );

  test.each([
    ['only a state', { state: 'some state' }],
    ['a URI without a client', { post_logout_redirect_uri: BYE, state: 'some state' }],
    ['no parameters', {}],
  ])('with %s: the session ends, without a redirect', async (_name, params: Record<string, string>) => {
    const app = await createApp();
    const agent = createUserAgent(server.issuer);
    await signIn(app, agent);
    const left = await confirm(agent, await logoutPage(agent, params));
    expect(left.leavesTo).toBeUndefined();
    expect(left.html).toContain('id="signed-out"');
    expect(await isSignedIn(agent, app)).toBe(false);
  });

  test('client_id is enough without a hint; without a session the browser is redirected too', async () => {
    const app = await createApp();
    const agent = createUserAgent(server.issuer);
    await signIn(app, agent);
    const request = { client_id: app.clientId, post_logout_redirect_uri: BYE };
    expect((await confirm(agent, await logoutPage(agent, request))).leavesTo?.href).toBe(BYE);
    expect((await logoutPage(agent, request)).leavesTo?.href).toBe(BYE);
  });

  test('by POST (§2)', async () => {
    const app = await createApp();
    const agent = createUserAgent(server.issuer);
    const { idToken } = await signIn(app, agent);
    const form = { id_token_hint: idToken, post_logout_redirect_uri: BYE, state: 'a state & more', more: 'of it' };
    const page = await agent.submit(`${server.issuer}/oauth2/logout`, form, { 'sec-fetch-site': 'cross-site' });
    expect(page.url).not.toContain('more=');
    expect(page.html).toContain('id="logout-page"');
    expect(await isSignedIn(agent, app)).toBe(true);
    const again = await agent.submit(`${server.issuer}/oauth2/logout`, form);
    const left = await confirm(agent, again);
    expect(left.leavesTo?.href).toBe(`${BYE}?state=a+state+%26+more`);
    expect(await isSignedIn(agent, app)).toBe(false);
  });

  test('a form cannot redirect to another site, and its size is limited', async () => {
    const action = `${server.issuer}/oauth2/logout`;
    const send = (body: string) =>
      fetch(action, {
        method: 'POST',
        redirect: 'manual',
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
    const answer = await send('state=%0d%0alocation:%20https://evil.example&post_logout_redirect_uri=//evil.example');
    expect(answer.status).toBe(303);
    expect(new URL(answer.headers.get('location') as string, action).origin).toBe(server.issuer);
    expect((await send(`state=${'x'.repeat(9_000)}`)).status).toBe(413);
    expect((await send('state=1&state=2')).headers.get('location')).toBe('/oauth2/logout?state=1&state=2');
  });

  test('a cross-site form, or one without the XSRF token of the page, does not end the session', async () => {
    const app = await createApp();
    const agent = createUserAgent(server.issuer);
    await signIn(app, agent);
    await logoutPage(agent);
    const guessed = await agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf: 'guessed', logout: 'yes' });
    expect(guessed.status).toBe(400);
    expect(await isSignedIn(agent, app)).toBe(true);
  });

  test('tokens end with the session, except those with offline_access', async () => {
    const [plain, offline, given] = [
      await createApp(),
      await createApp(),
      await createApp({ revoke_tokens_on_logout: true }),
    ];
    const agent = createUserAgent(server.issuer);
    const access = 'openid offline_access read';
    const tokens = {
      plain: await obtainTokens(server, plain, { scope: 'openid read', resource: API }, { agent }),
      offline: await obtainTokens(server, offline, { scope: access, resource: API, prompt: 'consent' }, { agent }),
      given: await obtainTokens(server, given, { scope: access, resource: API, prompt: 'consent' }, { agent }),
    };
    for (const { accessToken } of Object.values(tokens)) expect(await isActive(server, api, accessToken)).toBe(true);
    await signOut(agent);
    expect(await isActive(server, api, tokens.plain.accessToken)).toBe(false);
    expect(await isActive(server, api, tokens.offline.accessToken)).toBe(true);
    expect(await isActive(server, api, tokens.given.accessToken)).toBe(false);
    expect((await refresh(server, plain, tokens.plain.refreshToken)).body.error).toBe('invalid_grant');
    expect((await refresh(server, offline, tokens.offline.refreshToken)).status).toBe(200);
    expect((await refresh(server, given, tokens.given.refreshToken)).body.error).toBe('invalid_grant');
  });
});

describe('back-channel logout', () => {
  let count = 0;

  /** Each app has its own path at the receiver. */
  async function createListener(metadata: Record<string, unknown> = {}): Promise<TestClient & { path: string }> {
    const path = `/logout/${++count}`;
    const app = await createApp({
      backchannel_logout_uri: receiver.url + path,
      backchannel_logout_session_required: true,
      ...metadata,
    });
    return { ...app, path };
  }

  async function verify(logoutToken: string, app: TestClient) {
    const keySet = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
    const options = { issuer: server.issuer, audience: app.clientId, typ: 'logout+jwt' };
    return (await jwtVerify(logoutToken, keySet, options)).payload;
  }

  test('every app of the session gets its own logout token, and no other app does', async () => {
    const one = await createListener();
    const two = await createListener({ subject_type: 'pairwise' });
    const otherApp = await createListener();
    const agent = createUserAgent(server.issuer);
    const ofOne = decodeJwt((await signIn(one, agent)).idToken);
    const ofTwo = decodeJwt((await signIn(two, agent)).idToken);
    await signIn(otherApp, createUserAgent(server.issuer));
    await signOut(agent);

    const [first] = await receiver.wait(one.path);
    expect(first?.contentType).toMatch(/^application\/x-www-form-urlencoded/);
    const claims = await verify(first?.logoutToken as string, one);
    // Back-Channel Logout §2.4
    expect(claims).toEqual({
      iss: server.issuer,
      aud: one.clientId,
      sub: ofOne.sub,
      sid: ofOne.sid,
      iat: expect.any(Number),
      exp: (claims.iat as number) + 120,
      jti: expect.any(String),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    });
    const [second] = await receiver.wait(two.path);
    expect(await verify(second?.logoutToken as string, two)).toMatchObject({ sub: ofTwo.sub, sid: ofTwo.sid });
    expect(ofTwo.sub).not.toBe(ofOne.sub);
    await eventually(async () => {
      const { rows } = await server.sql.query(
        "SELECT account_id FROM audit_events WHERE type = 'logout_notice.delivered' AND client_id = ANY ($1)",
        [[one.clientId, two.clientId]],
      );
      expect(rows).toEqual([{ account_id: aliceId }, { account_id: aliceId }]);
    });
    expect(receiver.received.map(({ path }) => path)).not.toContain(otherApp.path);
  });

  test('a request to an app that fails is repeated with a new token; the user does not wait for it', async () => {
    const app = await createListener();
    let calls = 0;
    receiver.answerWith((response) => response.writeHead(++calls === 1 ? 503 : 204).end());
    const agent = createUserAgent(server.issuer);
    await signIn(app, agent);
    await signOut(agent);
    const [first, second] = await receiver.wait(app.path, 2);
    const [before, after] = [decodeJwt(first?.logoutToken as string), decodeJwt(second?.logoutToken as string)];
    expect(after.jti).not.toBe(before.jti);
    expect(after.sid).toBe(before.sid);
    await until(async () => {
      const ofApp = "SELECT state FROM lanyard_jobs.job WHERE data->>'clientId' = $1";
      const { rows } = await server.sql.query(ofApp, [app.clientId]);
      return rows.length === 1 && rows[0].state === 'completed';
    }, 'the end of the notice, which nothing sends again');
    expect(calls).toBe(2);
  });

  test('no request is sent to an internal address, neither by its URI nor by a redirect', async () => {
    const inside = await createApp({ backchannel_logout_uri: 'https://169.254.169.254/latest/meta-data' });
    const redirected = await createListener();
    receiver.answerWith((response) => response.writeHead(307, { location: `${receiver.url}/secret` }).end());
    const agent = createUserAgent(server.issuer);
    await signIn(inside, agent);
    await signIn(redirected, agent);
    await signOut(agent);
    await receiver.wait(redirected.path);
    const complaints = () => server.logLines.filter((line) => line.includes('a logout notice was not delivered'));
    await eventually(async () => {
      for (const { clientId } of [inside, redirected]) {
        expect(complaints().some((line) => line.includes(clientId))).toBe(true);
      }
    });
    expect(receiver.received.map(({ path }) => path)).not.toContain('/secret');
  });

  test('when the notices cannot be stored, the session does not end, and the user may try again', async () => {
    const app = await createListener();
    const agent = createUserAgent(server.issuer);
    const tokens = await obtainTokens(server, app, { scope: 'openid read', resource: API }, { agent });
    const page = await logoutPage(agent);
    await server.sql.query('ALTER SCHEMA lanyard_jobs RENAME TO hidden');
    try {
      const failed = await confirm(agent, page);
      expect(failed.status).toBe(500);
      expect(failed.html).toContain('id="error-page"');
      expect(await isSignedIn(agent, app)).toBe(true);
      expect(await isActive(server, api, tokens.accessToken)).toBe(true);
    } finally {
      await server.sql.query('ALTER SCHEMA hidden RENAME TO lanyard_jobs');
    }
    await signOut(agent);
    expect(await isActive(server, api, tokens.accessToken)).toBe(false);
    expect(await receiver.wait(app.path)).toHaveLength(1);
  });

  test.each([
    ['http://app.example/logout', 'must be https'],
    ['not a URI', 'backchannel_logout_uri'],
    ['https://app.example/logout#here', 'must not contain a fragment'],
    ['https://app.example/logout#', 'must not contain a fragment'],
    ['https://me:secret@app.example/logout', 'must not contain credentials'],
  ])('%s is refused at registration', async (uri, reason) => {
    const { status, body } = await server.admin.request('POST', '/clients', {
      ...CODE_FLOW,
      backchannel_logout_uri: uri,
    });
    expect(status).toBe(400);
    expect(body.errors).toEqual([{ pointer: '/backchannel_logout_uri', detail: expect.stringContaining(reason) }]);
  });

  test('discovery announces it', async () => {
    const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect(discovery).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
      end_session_endpoint: `${server.issuer}/oauth2/logout`,
    });
  });

  describe('a session that an operator ends', () => {
    interface WireSession {
      readonly id: string;
      readonly client_ids: readonly string[];
    }

    async function sessionsOf(userId: string): Promise<WireSession[]> {
      const { status, body } = await server.admin.request('GET', `/users/${userId}/sessions`);
      expect(status).toBe(200);
      return body.items as WireSession[];
    }

    async function newUser() {
      const user = { username: `user ${++count}`, password: 'a password of some length' };
      return { user, id: await server.admin.createUser(user.username, user.password) };
    }

    const end = (userId: string, sessionId: string) =>
      server.admin.request('DELETE', `/users/${userId}/sessions/${sessionId}`);

    test('one session ends, with its tokens and a notice; the others do not', async () => {
      const app = await createListener();
      const { user, id } = await newUser();
      const [here, there] = [createUserAgent(server.issuer), createUserAgent(server.issuer)];
      const request = { scope: 'openid read', resource: API };
      const tokens = toTokens(
        await exchange(server, app, await obtainCode(server, app, request, { agent: here, user })),
      );
      const [first] = await sessionsOf(id);
      expect(first).toEqual({
        id: expect.any(String),
        signed_in_at: expect.any(String),
        expires_at: expect.any(String),
        acr: expect.any(String),
        amr: ['pwd'],
        client_ids: [app.clientId],
      });
      const others = toTokens(
        await exchange(server, app, await obtainCode(server, app, request, { agent: there, user })),
      );
      expect(await sessionsOf(id)).toHaveLength(2);

      expect((await end(id, first?.id as string)).status).toBe(204);
      expect(await isSignedIn(here, app)).toBe(false);
      expect(await isSignedIn(there, app)).toBe(true);
      expect(await isActive(server, api, tokens.accessToken)).toBe(false);
      expect(await isActive(server, api, others.accessToken)).toBe(true);
      const [notice] = await receiver.wait(app.path);
      expect((await verify(notice?.logoutToken as string, app)).sid).toBe(decodeJwt(tokens.idToken).sid);
      expect(await sessionsOf(id)).toHaveLength(1);
      expect((await end(id, first?.id as string)).status).toBe(404);
      const { rows } = await server.sql.query(
        "SELECT actor FROM audit_events WHERE type = 'session.ended' AND account_id = $1",
        [id],
      );
      expect(rows).toEqual([{ actor: 'client:lanyard-admin' }]);
    });

    test('a session whose id has changed is one session: it is listed and ended once, with one notice for each app', async () => {
      const [app, second] = [await createListener(), await createListener()];
      const { user, id } = await newUser();
      const agent = createUserAgent(server.issuer);
      const tokens = await obtainTokens(server, app, {}, { agent, user });
      await obtainTokens(server, second, {}, { agent, user });
      const ids = "SELECT count(*)::int AS count FROM oidc_artifacts WHERE model = 'Session' AND account_id = $1";
      expect((await server.sql.query(ids, [id])).rows[0].count).toBeGreaterThan(1);
      const [session, ...more] = await sessionsOf(id);
      expect(more).toEqual([]);
      expect([...(session?.client_ids ?? [])].sort()).toEqual([app.clientId, second.clientId].sort());
      expect((await end(id, session?.id as string)).status).toBe(204);
      expect((await server.sql.query(ids, [id])).rows[0].count).toBe(0);
      expect(await isActive(server, app, tokens.accessToken)).toBe(false);
      for (const { path } of [app, second]) await receiver.wait(path);
      const delivered = `SELECT client_id FROM audit_events WHERE type = 'logout_notice.delivered' AND account_id = $1`;
      await eventually(async () => expect((await server.sql.query(delivered, [id])).rowCount).toBe(2));
    });

    test('the id of a session is not a cookie, and is valid for its own user only', async () => {
      const app = await createApp();
      const [one, two] = [await newUser(), await newUser()];
      const agent = createUserAgent(server.issuer);
      await obtainTokens(server, app, {}, { agent, user: one.user });
      const [session] = await sessionsOf(one.id);
      expect(agent.cookies.map(({ value }) => value)).not.toContain(session?.id);
      expect((await end(two.id, session?.id as string)).status).toBe(404);
      expect(await isSignedIn(agent, app)).toBe(true);
      expect((await server.admin.request('GET', '/users/unknown/sessions')).status).toBe(404);
      expect((await end(one.id, 'x'.repeat(101))).status).toBe(400);
    });

    test('sessions are listed in pages', async () => {
      const app = await createApp();
      const { user, id } = await newUser();
      for (let each = 0; each < 3; each++) await obtainTokens(server, app, {}, { user });
      const first = await server.admin.request('GET', `/users/${id}/sessions?limit=2`);
      const rest = await server.admin.request('GET', `/users/${id}/sessions?limit=2&cursor=${first.body.next_cursor}`);
      const ids = [first, rest].flatMap(({ body }) => (body.items as WireSession[]).map((session) => session.id));
      expect(new Set(ids).size).toBe(3);
      expect(rest.body.next_cursor).toBeNull();
    });

    test.each([
      ['a new password', (id: string) => ['PATCH', `/users/${id}`, { password: 'another password of some length' }]],
      ['all tokens revoked', (id: string) => ['POST', `/users/${id}/revoke-tokens`, undefined]],
      ['the user disabled', (id: string) => ['POST', `/users/${id}/disable`, undefined]],
    ])('%s: all sessions end, with a notice for each', async (_name, request) => {
      const app = await createListener();
      const { user, id } = await newUser();
      for (let each = 0; each < 2; each++) await obtainTokens(server, app, {}, { user });
      const [method, path, body] = request(id) as [string, string, unknown];
      expect((await server.admin.request(method, path, body)).status).toBe(200);
      const notices = await receiver.wait(app.path, 2);
      expect(new Set(notices.map(({ logoutToken }) => decodeJwt(logoutToken).sid)).size).toBe(2);
      expect(await sessionsOf(id)).toEqual([]);
    });

    test('ten thousand sessions of a user end with few statements for their notices: a robot could make as many', async () => {
      const app = await createListener();
      const { user, id } = await newUser();
      await obtainTokens(server, app, {}, { user });
      await server.sql.query(
        `INSERT INTO oidc_artifacts (model, id, payload, client_id, account_id, uid, issued_at, expires_at)
         SELECT model, sha256(n::text::bytea), replace(payload::text, uid, uid || n)::json, client_id, account_id, uid || n,
           issued_at, expires_at
         FROM (SELECT * FROM oidc_artifacts WHERE model = 'Session' AND account_id = $1 LIMIT 1) one,
           generate_series(1, 10000) n`,
        [id],
      );
      const { rows } = await eventually(async () => {
        const queue = await server.sql.query("SELECT table_name FROM lanyard_jobs.queue WHERE name = 'logout-notices'");
        expect(queue.rowCount).toBe(1);
        return queue;
      });
      const table = `lanyard_jobs.${rows[0].table_name}`;
      await server.sql.query(`
        CREATE TABLE statements (jobs int);
        CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO statements SELECT count(*) FROM added;
          RETURN NULL;
        END $$;
        CREATE TRIGGER count_statement AFTER INSERT ON ${table} REFERENCING NEW TABLE AS added
          FOR EACH STATEMENT EXECUTE FUNCTION count_statement()`);
      try {
        expect((await server.admin.request('POST', `/users/${id}/disable`)).status).toBe(200);
        // The queue itself stores single jobs again.
        const { rows: stored } = await server.sql.query(
          'SELECT sum(jobs)::int AS jobs FROM statements WHERE jobs > 5000',
        );
        expect(stored[0].jobs).toBeGreaterThanOrEqual(10_000);
        expect(await sessionsOf(id)).toEqual([]);
      } finally {
        await server.sql.query(`DROP TRIGGER count_statement ON ${table}; DELETE FROM lanyard_jobs.job`);
      }
    });
  });
});

test('a public client gets notices too, without backchannel_logout_session_required', async () => {
  const app = await createApp({ ...PUBLIC, backchannel_logout_uri: `${receiver.url}/public` });
  const agent = createUserAgent(server.issuer);
  await signIn(app, agent);
  await signOut(agent);
  const [notice] = await receiver.wait('/public');
  expect(decodeJwt(notice?.logoutToken as string)).not.toHaveProperty('sid');
});
