// Several apps sign in at the same moment in one session of a browser. Each of them stores the
// session again; none may lose what another has stored, or that one's tokens would be void.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { introspect, type TestClient } from '../support/admin.ts';
import { countBlocked, holdInserts, killBlocked } from '../support/hold.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  type IssuedCode,
  isActive,
  loggedFailures,
  obtainCode,
  obtainTokens,
  refresh,
  toTokens,
} from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type PageVisit, pkcePair, type UserAgent } from '../support/user-agent.ts';

const ROUNDS = 20;

let server: TestServer;
let other: OtherNode;
let aliceId: string;

beforeAll(async () => {
  server = await startTestServer();
  aliceId = await server.admin.createUser(ALICE.username, ALICE.password);
  other = await startOtherNode(server);
});
afterAll(async () => {
  await other.stop();
  await server.stop();
});

const newApps = (count: number) =>
  Promise.all(Array.from({ length: count }, () => server.admin.createClient(CODE_FLOW)));

/** Another window of the same browser, whose requests arrive at this node. */
function windowOf(agent: UserAgent, at: 'first' | 'other' = 'first'): UserAgent {
  return createUserAgent(server.issuer, agent.cookies, at === 'other' ? other.fetch : fetch);
}

async function signedIn(): Promise<UserAgent> {
  const agent = createUserAgent(server.issuer);
  const [first] = await newApps(1);
  await obtainCode(server, first as TestClient, {}, { agent });
  return agent;
}

interface Started {
  readonly page: PageVisit;
  readonly window: UserAgent;
  readonly verifier: string;
}

async function begin(window: UserAgent, client: TestClient, params: Record<string, string> = {}): Promise<Started> {
  const { verifier, challenge } = pkcePair();
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
  const url = authorizationUrl(server.issuer, { client_id: client.clientId, ...pkce, ...params });
  return { page: await window.visit(url), window, verifier };
}

const allow = async ({ page, window, verifier }: Started): Promise<IssuedCode> =>
  codeOf(await window.submit(formAction(page.html, 'consent'), {}), verifier);

function codeOf(page: PageVisit, verifier: string): IssuedCode {
  const back = page.leavesTo;
  const code = back?.searchParams.get('code');
  if (back === undefined || code == null) throw new Error(`no code: ${back?.href ?? page.html}`);
  return { code, verifier, back };
}

const nodes = ['first', 'other'] as const;

test('two apps whose pages are allowed at the same moment both get tokens that stay active', async () => {
  let agent = await signedIn();
  for (let round = 0; round < ROUNDS; round++) {
    const apps = await newApps(2);
    const pages = await Promise.all(apps.map((app, index) => begin(windowOf(agent, nodes[index]), app)));
    // The cookie of one of the two answers is the last one that the browser gets.
    agent = (pages[round % 2] as Started).window;
    const codes = await Promise.all(pages.map(allow));
    const tokens = await Promise.all(
      apps.map(async (app, index) => toTokens(await exchange(server, app, codes[index] as IssuedCode))),
    );
    for (const [index, app] of apps.entries()) {
      expect(await isActive(server, app, tokens[index]?.accessToken as string)).toBe(true);
      expect((await refresh(server, app, tokens[index]?.refreshToken as string)).status).toBe(200);
    }
  }
  expect(loggedFailures(server)).toEqual([]);
});

test('ten apps that come back without a page at once all get their code, and both nodes name them all', async () => {
  const agent = await signedIn();
  const apps = await newApps(10);
  for (const app of apps) await obtainCode(server, app);
  const codes = await Promise.all(
    apps.map(async (app, index) => {
      const { page, verifier } = await begin(windowOf(agent, nodes[index % 2]), app, { prompt: 'none' });
      return codeOf(page, verifier);
    }),
  );
  const answers = await Promise.all(apps.map((app, index) => exchange(server, app, codes[index] as IssuedCode)));
  expect(answers.map(({ status }) => status)).toEqual(apps.map(() => 200));
  const { body } = await server.admin.request('GET', `/users/${aliceId}/sessions`);
  const named = (body.items as { client_ids: string[] }[]).map(({ client_ids: clientIds }) => clientIds);
  expect(named).toContainEqual(expect.arrayContaining(apps.map(({ clientId }) => clientId)));
});

describe('while sign-ins go on in a session', () => {
  test('its tokens are active every time they are asked for, and refresh every time', async () => {
    const agent = createUserAgent(server.issuer);
    const [app] = (await newApps(1)) as [TestClient];
    const { accessToken, refreshToken } = await obtainTokens(server, app, {}, { agent });
    let isOver = false;
    let asked = 0;
    const inactive: unknown[] = [];
    const ask = async (): Promise<void> => {
      while (!isOver) {
        const { status, body } = await introspect(server.issuer, app, accessToken);
        if (status !== 200 || body.active !== true) inactive.push(body);
        const refreshed = await refresh(server, app, refreshToken);
        if (refreshed.status !== 200) inactive.push(refreshed.body);
        asked++;
      }
    };
    const asking = Promise.all(Array.from({ length: 4 }, ask));
    for (const each of await newApps(15)) await allow(await begin(agent, each));
    isOver = true;
    await asking;
    expect(inactive).toEqual([]);
    expect(asked).toBeGreaterThan(20);
  });
});

describe('while the session is being stored at a sign-in', () => {
  test('it is there as before: its tokens are active, and refresh', async () => {
    const agent = createUserAgent(server.issuer);
    const [app, next] = (await newApps(2)) as [TestClient, TestClient];
    const { accessToken, refreshToken } = await obtainTokens(server, app, {}, { agent });
    const page = await begin(agent, next);
    const held = await holdInserts(server.connectionString, 'Session');
    const allowed = allow(page);
    await until(async () => (await countBlocked(server.sql)) === 1);
    expect(await isActive(server, app, accessToken)).toBe(true);
    expect((await refresh(server, app, refreshToken)).status).toBe(200);
    await held.release();
    expect((await exchange(server, next, await allowed)).status).toBe(200);
  });

  test('and cannot be, the browser is signed in as before, gets no code, and goes on from the same page', async () => {
    const agent = createUserAgent(server.issuer);
    const [app, next] = (await newApps(2)) as [TestClient, TestClient];
    const { accessToken } = await obtainTokens(server, app, {}, { agent });
    const { page, verifier } = await begin(agent, next);
    const before = agent.cookies.find(({ name }) => name.endsWith('session'));
    const held = await holdInserts(server.connectionString, 'Session');
    const failed = agent.submit(formAction(page.html, 'consent'), {});
    await until(async () => (await countBlocked(server.sql)) === 1);
    await killBlocked(server.sql);
    const answer = await failed;
    await held.release();
    expect([answer.status, answer.leavesTo, answer.html.includes('id="error-page"')]).toEqual([503, undefined, true]);
    expect(agent.cookies).toContainEqual(before);
    expect(await isActive(server, app, accessToken)).toBe(true);
    // What the login had come to is stored as well: its address can be opened again.
    expect((await exchange(server, next, codeOf(await agent.visit(answer.url), verifier))).status).toBe(200);
  });
});

test('a hundred requests with one cookie wait for each other without a connection: others are answered', async () => {
  const agent = await signedIn();
  const held = await holdInserts(server.connectionString, 'Session');
  const many = Array.from({ length: 100 }, () => windowOf(agent).visit(`${server.issuer}/oauth2/device`));
  await until(async () => (await countBlocked(server.sql)) === 1);
  // Needs a transaction of its own.
  expect((await server.admin.createClient(CODE_FLOW)).clientId).toBeDefined();
  expect(await countBlocked(server.sql)).toBe(1);
  await held.release();
  expect((await Promise.all(many)).map(({ status }) => status)).toEqual(many.map(() => 200));
});

test('ten requests with one cookie do not wait for ten deadlines when the session is locked: the last are refused in turn', async () => {
  const agent = await signedIn();
  const held = await holdInserts(server.connectionString, 'Session');
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => windowOf(agent).visit(`${server.issuer}/oauth2/device`)),
  );
  await held.release();
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 503));
  expect(answers.filter(({ html }) => html.includes('too many requests of this session wait')).length).toBeGreaterThan(
    5,
  );
  expect((await windowOf(agent).visit(`${server.issuer}/oauth2/device`)).status).toBe(200);
});

describe('a request that still has the cookie of before the sign-in', () => {
  test('finds the user signed in, and the browser stays so with either cookie', async () => {
    const agent = await signedIn();
    const [app, late] = (await newApps(2)) as [TestClient, TestClient];
    await obtainCode(server, late);
    const before = windowOf(agent);
    await allow(await begin(agent, app));
    expect(agent.cookies).not.toEqual(before.cookies);
    const { page, verifier } = await begin(before, late, { prompt: 'none' });
    expect((await exchange(server, late, codeOf(page, verifier))).status).toBe(200);
    for (const window of [agent, before]) {
      expect((await begin(window, app, { prompt: 'none' })).page.leavesTo?.searchParams.has('code')).toBe(true);
    }
  });

  test('ends within a minute if nobody uses it', async () => {
    const agent = await signedIn();
    const before = windowOf(agent);
    const [app] = (await newApps(1)) as [TestClient];
    await allow(await begin(agent, app));
    const lastsAnHour = async ({ cookies }: UserAgent) => {
      const id = cookies.find(({ name }) => name.endsWith('session'))?.value as string;
      const text = `SELECT expires_at > now() + interval '1 hour' AS lasts, expires_at > now() + interval '61 s' AS is_long
                    FROM oidc_artifacts WHERE model = 'Session' AND id = $1`;
      return (await server.sql.query(text, [artifactId('Session', id)])).rows;
    };
    expect(await lastsAnHour(agent)).toEqual([{ lasts: true, is_long: true }]);
    expect(await lastsAnHour(before)).toEqual([{ lasts: false, is_long: false }]);
  });

  test('gets nothing of a sign-in that made it another user: a planted cookie stays anonymous', async () => {
    const planted = createUserAgent(server.issuer);
    await planted.visit(`${server.issuer}/oauth2/device?user_code=BCDF-GHJK`);
    expect(planted.cookies.length).toBeGreaterThan(0);
    const [app] = (await newApps(1)) as [TestClient];
    const victim = windowOf(planted);
    await obtainCode(server, app, {}, { agent: victim });
    const { page } = await begin(planted, app, { prompt: 'none' });
    expect(page.leavesTo?.searchParams.get('error')).toBe('login_required');
  });
});
