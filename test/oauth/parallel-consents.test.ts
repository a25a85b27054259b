// What the engine reads, changes and stores again, changed by two requests at the same moment, at two nodes: grants that grow at
// consent, logins in progress, device codes. Neither may undo what the other has stored, and nothing may be used twice.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { postForm, requestToken, revoke, type TestClient } from '../support/admin.ts';
import { approveDevice, confirmDevice, DEVICE_GRANT, typeUserCode } from '../support/device.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  isActive,
  loggedFailures,
  obtainCode,
  obtainTokens,
  PUBLIC,
  toTokens,
  type UserTokens,
} from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type PageVisit, pkcePair, type UserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';
const BOB = { username: 'bob', password: 'correct horse battery' };
const ROUNDS = 10;

let server: TestServer;
let other: OtherNode;
const ids: string[] = [];

beforeAll(async () => {
  server = await startTestServer();
  other = await startOtherNode(server);
  for (const { username, password } of [ALICE, BOB]) ids.push(await server.admin.createUser(username, password));
  await server.admin.createApi(API, { scopes: ['read', 'write'] });
});
afterAll(async () => {
  expect(loggedFailures(server)).toEqual([]);
  await other.stop();
  await server.stop();
});

async function newApp(members: Record<string, unknown> = CODE_FLOW): Promise<TestClient> {
  const app = await server.admin.createClient(members);
  await server.admin.allow(app.clientId, API, ['read', 'write']);
  return app;
}

/** Two windows of one browser; a load balancer sends each to another node. */
function windowsOf({ cookies }: UserAgent): [UserAgent, UserAgent] {
  return [createUserAgent(server.issuer, cookies), createUserAgent(server.issuer, cookies, other.fetch)];
}

async function signedIn(user = ALICE): Promise<UserAgent> {
  const agent = createUserAgent(server.issuer);
  await obtainCode(server, await newApp(), {}, { agent, user });
  return agent;
}

interface Opened {
  readonly window: UserAgent;
  readonly page: PageVisit;
  readonly verifier: string;
}

async function open(window: UserAgent, app: TestClient, params: Record<string, string> = {}): Promise<Opened> {
  const { verifier, challenge } = pkcePair();
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
  const page = await window.visit(authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce, ...params }));
  return { window, page, verifier };
}

const allow = async (opened: Opened): Promise<Opened> => ({
  ...opened,
  page: await opened.window.submit(formAction(opened.page.html, 'consent'), {}),
});

async function tokensOf(app: TestClient, { page, verifier }: Opened): Promise<UserTokens> {
  const back = page.leavesTo;
  const code = back?.searchParams.get('code');
  if (back === undefined || code == null) throw new Error(`no code: ${back?.href ?? page.html}`);
  return toTokens(await exchange(server, app, { code, verifier, back }));
}

const scopeOf = ({ accessToken }: UserTokens) => String(decodeJwt(accessToken).scope);

describe('a grant that grows', () => {
  test('in two windows at once holds what both have asked for, and the tokens of both live', async () => {
    const agent = await signedIn();
    for (let round = 0; round < ROUNDS; round++) {
      const app = await newApp();
      await obtainTokens(server, app, {}, { agent });
      const [one, two] = windowsOf(agent);
      const opened = await Promise.all([
        open(one, app, { scope: 'openid read', resource: API }),
        open(two, app, { scope: 'openid write', resource: API }),
      ]);
      const allowed = await Promise.all(opened.map(allow));
      const tokens = await Promise.all(allowed.map((each) => tokensOf(app, each)));
      expect(tokens.map(scopeOf)).toEqual([expect.stringContaining('read'), expect.stringContaining('write')]);
      for (const { accessToken } of tokens) expect(await isActive(server, app, accessToken)).toBe(true);
      const both = await open(one, app, { scope: 'openid read write', resource: API, prompt: 'none' });
      expect(scopeOf(await tokensOf(app, both))).toMatch(/read write|write read/);
    }
  });

  test.each([
    ['allowed for the first time', false],
    ['come back without a page, for the first time in the session', true],
  ])('in two windows of one app at once that are %s: the tokens of both live', async (_name, isKnown) => {
    const agent = await signedIn();
    for (let round = 0; round < ROUNDS; round++) {
      const app = await newApp();
      if (isKnown) await obtainCode(server, app);
      const windows = windowsOf(agent);
      const opened = await Promise.all(windows.map((window) => open(window, app)));
      const allowed = isKnown ? opened : await Promise.all(opened.map(allow));
      const tokens = await Promise.all(allowed.map((each) => tokensOf(app, each)));
      for (const { accessToken } of tokens) expect(await isActive(server, app, accessToken)).toBe(true);
    }
  });

  test('is not stored again when it was revoked while the user read the page', async () => {
    const agent = await signedIn();
    const app = await newApp();
    const { accessToken, refreshToken } = await obtainTokens(
      server,
      app,
      { scope: 'openid read', resource: API },
      { agent },
    );
    const page = await open(agent, app, { scope: 'openid read write', resource: API });
    await revoke(server.issuer, app, refreshToken);
    expect(await isActive(server, app, accessToken)).toBe(false);
    const fresh = await tokensOf(app, await allow(page));
    expect(await isActive(server, app, fresh.accessToken)).toBe(true);
    expect(await isActive(server, app, accessToken)).toBe(false);
  });
});

describe('a login in progress', () => {
  test('is gone on from once: of two windows one gets a code', async () => {
    const agent = await signedIn();
    for (let round = 0; round < ROUNDS; round++) {
      const app = await newApp();
      const opened = await open(agent, app);
      const resume = await resumeUrl(agent, opened);
      const pages = await Promise.all(windowsOf(agent).map((window) => window.visit(resume)));
      expect(pages.map(({ leavesTo }) => leavesTo?.searchParams.has('code') ?? false).sort()).toEqual([false, true]);
      expect(pages.map(({ status }) => status).sort()).toEqual([303, 400]);
    }
  });

  test('that has ended cannot be answered any more, and so not be gone on from again', async () => {
    const agent = await signedIn();
    const app = await newApp();
    const opened = await open(agent, app);
    const [late] = windowsOf(agent);
    await allow(opened);
    const answer = await late.submit(formAction(opened.page.html, 'consent'), {});
    expect([answer.status, answer.html.includes('interaction_not_found')]).toEqual([400, true]);
    const uid = /interaction\/([\w-]+)\//.exec(formAction(opened.page.html, 'consent'))?.[1] as string;
    const { rowCount } = await server.sql.query(
      "SELECT 1 FROM oidc_artifacts WHERE model = 'Interaction' AND id = $1",
      [artifactId('Interaction', uid)],
    );
    expect(rowCount).toBe(0);
  });
});

/** Sends the form, and stops where the browser is sent back to the engine. */
async function resumeUrl(agent: UserAgent, { page }: Opened): Promise<string> {
  const action = new URL(formAction(page.html, 'consent'), server.issuer);
  const own = agent.cookies.filter(({ path }) => action.pathname.startsWith(path));
  const cookie = own.map(({ name, value }) => `${name}=${value}`).join('; ');
  const headers = { cookie, 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' };
  const answer = await fetch(action, { method: 'POST', redirect: 'manual', headers });
  return answer.headers.get('location') as string;
}

describe('a device code', () => {
  let device: TestClient;
  beforeAll(async () => {
    device = await newApp({ ...PUBLIC, grant_types: [DEVICE_GRANT, 'refresh_token'] });
  });

  async function start(): Promise<{ device_code: string; user_code: string }> {
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, device, { scope: 'openid' });
    return body as never;
  }
  const poll = (code: string) =>
    requestToken(server.issuer, device, { grant_type: DEVICE_GRANT, device_code: code }).then(({ body }) => body);

  test('is confirmed once, and one that was refused at the same moment is not confirmed', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { device_code: code, user_code: userCode } = await start();
      const people = [
        createUserAgent(server.issuer),
        createUserAgent(server.issuer, [], other.fetch),
        createUserAgent(server.issuer),
      ];
      const pages = await Promise.all(people.map((person) => typeUserCode(server.issuer, person, userCode)));
      const choices = [{ confirm: 'yes' }, { confirm: 'yes' }, { abort: 'yes' }];
      const answers = await Promise.all(
        people.map((person, index) => confirmDevice(person, pages[index] as PageVisit, choices[index])),
      );
      const hasGoneOn = answers.map(({ html }) => /id="login-page"|You have refused/.test(html));
      expect(hasGoneOn.filter(Boolean)).toHaveLength(1);
      const { error } = await poll(code);
      expect(error).toBe(hasGoneOn[2] ? 'access_denied' : 'authorization_pending');
    }
  });

  test('is answered once: a user who allows it in two windows gives it one set of tokens', async () => {
    const { device_code: code, user_code: userCode } = await start();
    const agent = createUserAgent(server.issuer);
    await approveDevice(server.issuer, userCode, agent);
    const answers = await Promise.all(Array.from({ length: 4 }, () => poll(code)));
    expect(answers.filter(({ access_token: token }) => token !== undefined)).toHaveLength(1);
  });

  test('is confirmed and allowed in one request by a user who has allowed the app before', async () => {
    const agent = createUserAgent(server.issuer);
    await approveDevice(server.issuer, (await start()).user_code, agent);
    const { device_code: code, user_code: userCode } = await start();
    const page = await confirmDevice(agent, await typeUserCode(server.issuer, agent, userCode));
    expect(page.html).toContain('id="device-done"');
    expect((await poll(code)).access_token).toBeDefined();
  });
});

test('a session of one user gets nothing of another user who signs in to it at the same moment', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const anonymous = createUserAgent(server.issuer);
    await anonymous.visit(`${server.issuer}/oauth2/device`);
    const app = await newApp();
    const windows = windowsOf(anonymous);
    const users = [ALICE, BOB];
    // The page of the one who was first may end when the second signs in.
    const outcomes = await Promise.allSettled(
      windows.map(async (agent, index) => {
        const user = users[index] as typeof ALICE;
        const issued = await obtainCode(server, app, {}, { agent, user });
        const { status, body } = await exchange(server, app, issued);
        if (status === 200) expect(decodeJwt(body.id_token as string).sub).toBe(ids[index]);
        return status;
      }),
    );
    expect(outcomes).toContainEqual({ status: 'fulfilled', value: 200 });
    const { rows } = await server.sql.query(
      `SELECT uid FROM oidc_artifacts WHERE model = 'Session' GROUP BY uid HAVING count(DISTINCT account_id) > 1`,
    );
    expect(rows).toEqual([]);
  }
});
