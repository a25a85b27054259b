// What is answered is stored: the audit event is in the transaction of what it tells of, which is
// committed before the answer is sent. If it cannot be stored, nothing of the request is.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { postForm, requestToken, revoke, type TestClient } from '../support/admin.ts';
import { approveDevice, confirmDevice, DEVICE_GRANT, typeUserCode } from '../support/device.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  clientToken,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  PUBLIC,
  refresh,
} from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type PageVisit, type UserAgent } from '../support/user-agent.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';

let server: TestServer;
let app: TestClient;
let api: TestClient;
let publicApp: TestClient;
let tv: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  publicApp = await admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 0 });
  tv = await admin.createClient({ ...PUBLIC, grant_types: [DEVICE_GRANT] });
  api = await admin.createClient();
  for (const [identifier, access_token_format] of [
    [JWT_API, 'jwt'],
    [OPAQUE_API, 'opaque'],
  ] as const) {
    const members = { scopes: ['read'], introspection_client_id: api.clientId };
    await admin.createApi(identifier, { ...members, access_token_format });
    for (const { clientId } of [app, publicApp]) await admin.allow(clientId, identifier, ['read']);
  }
  await server.sql.query(`
    CREATE FUNCTION refuse_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused for the test'; END $$`);
});
afterEach(async () => {
  for (const table of ['audit_events', 'oidc_artifacts']) {
    await server.sql.query(`DROP TRIGGER IF EXISTS refuse_for_the_test ON ${table}`);
  }
});
afterAll(() => server.stop());

/** From now on the database refuses new rows for which the condition holds. */
function breakInserts(table: 'audit_events' | 'oidc_artifacts', condition: string) {
  return server.sql.query(`CREATE TRIGGER refuse_for_the_test BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW
                           WHEN (${condition}) EXECUTE FUNCTION refuse_for_the_test()`);
}

function repair(table: 'audit_events' | 'oidc_artifacts') {
  return server.sql.query(`DROP TRIGGER refuse_for_the_test ON ${table}`);
}

async function events(type: string): Promise<number> {
  const { rows } = await server.sql.query('SELECT count(*)::int AS count FROM audit_events WHERE type = $1', [type]);
  return rows[0].count;
}

async function rowsOf(model: string): Promise<string[]> {
  const { rows } = await server.sql.query("SELECT encode(id, 'hex') AS id FROM oidc_artifacts WHERE model = $1", [
    model,
  ]);
  return rows.map(({ id }) => id).sort();
}

/** Sends it while nobody can write audit events. @returns its answer, which must not come before that is over */
async function whileAuditIsLocked<T>(send: () => Promise<T>): Promise<T> {
  const lock = await lockTable(server.connectionString, 'audit_events');
  let hasAnswered = false;
  try {
    const answer = send().finally(() => {
      hasAnswered = true;
    });
    answer.catch(() => {});
    await until(async () => hasAnswered || (await countBlocked(server.sql)) > 0, 'a statement that waits');
    // An answer that waits for nothing would be there before that of a later request.
    await fetch(`${server.issuer}/health/ready`);
    expect(hasAnswered).toBe(false);
    await lock.release();
    return await answer;
  } catch (error) {
    await lock.release().catch(() => {});
    throw error;
  }
}

const SERVER_ERROR = { error: 'server_error', error_description: expect.any(String) };
const forUser = (client: TestClient, resource = OPAQUE_API) =>
  obtainTokens(server, client, { scope: 'openid read', resource });

const REVOKED = [
  ['a JWT', async () => clientToken(server, app, { resource: JWT_API })],
  ['an opaque access token', async () => clientToken(server, app, { resource: OPAQUE_API })],
  ['a refresh token', async () => (await forUser(app)).refreshToken],
] as const;

describe.each(REVOKED)('the revocation of %s', (_name, issue) => {
  test('is answered when its audit event is stored, not before', async () => {
    const token = await issue();
    const before = await events('token.revoked');
    const { status } = await whileAuditIsLocked(() => revoke(server.issuer, app, token));
    expect(status).toBe(200);
    expect(await events('token.revoked')).toBe(before + 1);
    expect(await isActive(server, app, token)).toBe(false);
  });

  test('is refused when its audit event cannot be stored, and the token stays active', async () => {
    const token = await issue();
    await breakInserts('audit_events', "NEW.type = 'token.revoked'");
    const { status, body } = await revoke(server.issuer, app, token);
    expect([status, body]).toEqual([500, SERVER_ERROR]);
    expect(await isActive(server, app, token)).toBe(true);
    await repair('audit_events');
    expect((await revoke(server.issuer, app, token)).status).toBe(200);
    expect(await isActive(server, app, token)).toBe(false);
  });

  test('leaves one event, however often it is sent at once', async () => {
    const token = await issue();
    const before = await events('token.revoked');
    const answers = await Promise.all(Array.from({ length: 8 }, () => revoke(server.issuer, app, token)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(await events('token.revoked')).toBe(before + 1);
  });
});

test('of many revocations whose events fail at random, those that are answered with 200 have one, and no other', async () => {
  const tokens = await Promise.all(
    Array.from({ length: 60 }, (_, n) => clientToken(server, app, { resource: n % 2 === 0 ? JWT_API : OPAQUE_API })),
  );
  const before = await events('token.revoked');
  await breakInserts('audit_events', "NEW.type = 'token.revoked' AND random() < 0.5");
  const statuses = await Promise.all(tokens.map(async (token) => (await revoke(server.issuer, app, token)).status));
  await repair('audit_events');
  const acknowledged = statuses.filter((status) => status === 200).length;
  expect(await events('token.revoked')).toBe(before + acknowledged);
  const active = await Promise.all(tokens.map((token) => isActive(server, app, token)));
  expect(active).toEqual(statuses.map((status) => status !== 200));
});

describe('a replay', () => {
  const replays = [
    [
      'of a code',
      async () => {
        const issued = await obtainCode(server, app, { scope: 'openid read', resource: OPAQUE_API });
        const { body } = await exchange(server, app, issued);
        return { live: String(body.access_token), replay: () => exchange(server, app, issued) };
      },
    ],
    [
      'of a rotated refresh token',
      async () => {
        const { refreshToken } = await forUser(publicApp);
        const { body } = await refresh(server, publicApp, refreshToken);
        const live = String(body.access_token);
        return { live, replay: () => refresh(server, publicApp, refreshToken) };
      },
    ],
  ] as const;

  test.each(replays)('%s is answered when its audit event is stored, not before', async (_name, prepare) => {
    const { live, replay } = await prepare();
    const before = await events('token.replayed');
    const { status, body } = await whileAuditIsLocked(replay);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    expect(await events('token.replayed')).toBe(before + 1);
    expect(await isActive(server, api, live)).toBe(false);
  });

  test.each(replays)('%s revokes nothing when its audit event cannot be stored', async (_name, prepare) => {
    const { live, replay } = await prepare();
    await breakInserts('audit_events', "NEW.type = 'token.replayed'");
    const { status, body } = await replay();
    expect([status, body]).toEqual([500, SERVER_ERROR]);
    expect(await isActive(server, api, live)).toBe(true);
    await repair('audit_events');
    expect((await replay()).status).toBe(400);
    expect(await isActive(server, api, live)).toBe(false);
  });
});

/** A page for people, with nothing that a request which failed must not give away. */
function expectErrorPage(page: PageVisit): void {
  expect(page.status).toBe(500);
  expect(page.html).toContain('id="error-page"');
  expect(page.html).toContain(String(page.headers.get('x-request-id')));
  expect(page.headers.get('content-type')).toContain('text/html');
  expect(page.headers.get('location')).toBeNull();
  expect(page.headers.getSetCookie()).toEqual([]);
}

describe('a device that cannot be recorded', () => {
  async function startDevice() {
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, tv, { scope: 'openid' });
    return { userCode: String(body.user_code), deviceCode: String(body.device_code) };
  }
  const poll = (device_code: string) =>
    requestToken(server.issuer, tv, { grant_type: DEVICE_GRANT, device_code, client_id: tv.clientId });

  test('as allowed gets nothing; when it can be, the same code works', async () => {
    const { userCode, deviceCode } = await startDevice();
    await breakInserts('audit_events', "NEW.type = 'device.authorized'");
    const agent = createUserAgent(server.issuer);
    const login = await confirmDevice(agent, await typeUserCode(server.issuer, agent, userCode));
    const page = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    expectErrorPage(page);
    expect(page.html).toContain(`href="${new URL(page.url).pathname}"`);
    expect((await poll(deviceCode)).body.error).toBe('authorization_pending');
    await repair('audit_events');
    // The browser may load the page again: its steps are still there.
    expect((await agent.visit(page.url)).html).toContain('id="device-done"');
    expect(await events('device.authorized')).toBe(1);
  });

  test('as refused is not refused', async () => {
    const { userCode, deviceCode } = await startDevice();
    await breakInserts('audit_events', "NEW.type = 'device.denied'");
    const agent = createUserAgent(server.issuer);
    const asked = await typeUserCode(server.issuer, agent, userCode);
    expectErrorPage(await confirmDevice(agent, asked, { abort: 'yes' }));
    expect((await poll(deviceCode)).body.error).toBe('authorization_pending');
    await repair('audit_events');
    expect((await approveDevice(server.issuer, userCode)).html).toContain('id="device-done"');
  });
});

describe('the pages', () => {
  async function loginPage(agent: UserAgent, client = app): Promise<PageVisit> {
    return agent.visit(
      authorizationUrl(server.issuer, {
        client_id: client.clientId,
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
      }),
    );
  }

  test('sign nobody in without the audit event', async () => {
    await breakInserts('audit_events', "NEW.type = 'login.succeeded'");
    const agent = createUserAgent(server.issuer);
    const page = await loginPage(agent);
    expectErrorPage(await agent.submit(formAction(page.html, 'login'), { ...ALICE }));
    await repair('audit_events');
    const resumed = formAction(page.html, 'login').replace(/^.*interaction\/(.*)\/login$/, '/oauth2/authorize/$1');
    expect((await agent.visit(resumed)).html).toContain('id="login-page"');
  });

  test.each([
    ['consent', 'consent.granted'],
    ['cancel', 'consent.denied'],
  ] as const)('%s: nothing is decided without the audit event %s', async (form, type) => {
    const client = await server.admin.createClient(CODE_FLOW);
    const agent = createUserAgent(server.issuer);
    const page = await loginPage(agent, client);
    const asked = await agent.submit(formAction(page.html, 'login'), { ...ALICE });
    await breakInserts('audit_events', `NEW.type = '${type}'`);
    const grants = await rowsOf('Grant');
    expectErrorPage(await agent.submit(formAction(asked.html, form), {}));
    expect(await rowsOf('Grant')).toEqual(grants);
    const { rows } = await server.sql.query('SELECT 1 FROM consents WHERE client_id = $1', [client.clientId]);
    expect(rows).toEqual([]);
    await repair('audit_events');
    const left = await agent.submit(formAction(asked.html, form), {});
    expect(left.leavesTo?.searchParams.has(form === 'consent' ? 'code' : 'error')).toBe(true);
  });

  test('record no sign-in and no consent that could not be stored', async () => {
    const client = await server.admin.createClient(CODE_FLOW);
    const agent = createUserAgent(server.issuer);
    const page = await loginPage(agent, client);
    await breakInserts('oidc_artifacts', "NEW.model = 'Interaction'");
    const signIns = await events('login.succeeded');
    expectErrorPage(await agent.submit(formAction(page.html, 'login'), { ...ALICE }));
    expect(await events('login.succeeded')).toBe(signIns);
    await repair('oidc_artifacts');
    const asked = await agent.submit(formAction(page.html, 'login'), { ...ALICE });
    await breakInserts('oidc_artifacts', "NEW.model = 'Grant'");
    const consents = await events('consent.granted');
    expectErrorPage(await agent.submit(formAction(asked.html, 'consent'), {}));
    expect(await events('consent.granted')).toBe(consents);
    const { rows } = await server.sql.query('SELECT 1 FROM consents WHERE client_id = $1', [client.clientId]);
    expect(rows).toEqual([]);
  });

  test('sign nobody out without the audit event', async () => {
    const agent = createUserAgent(server.issuer);
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid' }, { agent });
    await breakInserts('audit_events', "NEW.type = 'logout.completed'");
    const logout = async () => {
      const page = await agent.visit(`${server.issuer}/oauth2/logout`);
      const xsrf = String(/name="xsrf" value="([^"]*)"/.exec(page.html)?.[1]);
      // The engine's router ignores case.
      return agent.submit(`${server.issuer}/oauth2/logout/CONFIRM`, { xsrf, logout: 'yes' });
    };
    const failed = await logout();
    expectErrorPage(failed);
    expect(failed.html).toContain('You are still signed in.');
    expect(await isActive(server, app, accessToken)).toBe(true);
    await repair('audit_events');
    expect((await logout()).html).toContain('id="signed-out"');
    expect(await isActive(server, app, accessToken)).toBe(false);
  });
});

describe('an authorization request whose session cannot be stored', () => {
  const params = (client: TestClient, more: Record<string, string> = {}) => ({
    client_id: client.clientId,
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
    ...more,
  });

  test.each([
    ['query', {}],
    ['form_post', { response_mode: 'form_post' }],
    ['jwt', { response_mode: 'jwt' }],
  ])('is an error page without a code that somebody could use (%s)', async (_name, more: Record<string, string>) => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const url = authorizationUrl(server.issuer, params(app, more));
    const codes = await rowsOf('AuthorizationCode');
    await breakInserts('oidc_artifacts', "NEW.model = 'Session'");
    const failed = await agent.visit(url);
    expectErrorPage(failed);
    expect(failed.html).not.toContain('name="code"');
    expect(await rowsOf('AuthorizationCode')).toEqual(codes);
    await repair('oidc_artifacts');
    // Still signed in: the browser has kept its cookie.
    const again = await agent.visit(url);
    const answered = again.leavesTo?.searchParams.has(more.response_mode === 'jwt' ? 'response' : 'code');
    expect(answered || again.html.includes('name="code"')).toBe(true);
  });

  test('after the login page is an error page too, and loading it again goes on', async () => {
    const agent = createUserAgent(server.issuer);
    const page = await agent.visit(authorizationUrl(server.issuer, params(app)));
    await breakInserts('oidc_artifacts', "NEW.model = 'Session'");
    const failed = await agent.submit(formAction(page.html, 'login'), { ...ALICE });
    expectErrorPage(failed);
    await repair('oidc_artifacts');
    const again = await agent.visit(failed.url);
    expect(again.leavesTo?.searchParams.has('code') || again.html.includes('id="consent-page"')).toBe(true);
  });

  test('of a stranger is an error page without a cookie', async () => {
    await breakInserts('oidc_artifacts', "NEW.model = 'Interaction'");
    expectErrorPage(await createUserAgent(server.issuer).visit(authorizationUrl(server.issuer, params(app))));
  });
});

test.each(['logout', 'device'])(
  'the page /oauth2/%s, whose session cannot be stored, is an error page',
  async (path) => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    await breakInserts('oidc_artifacts', "NEW.model = 'Session'");
    expectErrorPage(await agent.visit(`${server.issuer}/oauth2/${path}`));
  },
);
