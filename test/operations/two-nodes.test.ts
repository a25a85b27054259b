// Two nodes on one database: what an operator has changed on one holds on the other at once. A node that went on believing its
// memory would let a disabled client, a revoked token or a removed permission live on there.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { countNamed, killNamed } from '../support/hold.ts';
import { ALICE, CODE_FLOW, clientToken, obtainTokens } from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://api.example';
const CC = { grant_type: 'client_credentials' };

let server: TestServer;
let other: OtherNode;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  other = await startOtherNode(server);
});
afterAll(async () => {
  await other.stop();
  await server.stop();
});

interface Scene {
  readonly app: TestClient;
  /** the resource server's own client */
  readonly api: TestClient;
  readonly identifier: string;
  readonly userId: string;
  readonly username: string;
  readonly tokens: readonly string[];
  readonly userTokens: readonly string[];
  readonly refreshToken: string;
}

let sceneCount = 0;

/** A client, its API, a user and tokens of all kinds, all new. */
async function newScene(): Promise<Scene> {
  const { admin } = server;
  const number = ++sceneCount;
  const app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  const api = await admin.createClient();
  const identifier = `https://api-${number}.example`;
  await admin.createApi(identifier, { scopes: ['read', 'write'], introspection_client_id: api.clientId });
  await admin.allow(app.clientId, identifier, ['read', 'write']);
  const user = { username: `user ${number}`, password: 'a password of some length' };
  const userId = await admin.createUser(user.username, user.password);
  const request = { scope: 'openid read write', resource: identifier };
  const ofUser = await obtainTokens(server, app, request, { user });
  return {
    app,
    api,
    identifier,
    userId,
    username: user.username,
    tokens: [await clientToken(server, app)],
    userTokens: [ofUser.accessToken, ofUser.refreshToken],
    refreshToken: ofUser.refreshToken,
  };
}

/** What the other node still grants to who should not have it any more. */
type Probe = (scene: Scene) => Promise<boolean>;

const getsToken: Probe = async ({ app }) => (await other.post('/oauth2/token', app, CC)).status === 200;
const getsWrite: Probe = async ({ app }) =>
  /write/.test(String((await other.post('/oauth2/token', app, CC)).body.scope));
const refreshes: Probe = async ({ app, refreshToken }) => {
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
  return (await other.post('/oauth2/token', app, form)).status === 200;
};
const introspecting =
  (
    kind: 'tokens' | 'userTokens',
    caller: 'app' | 'api',
    isGranted: (body: Record<string, unknown>) => boolean,
  ): Probe =>
  async (scene) => {
    const asked = caller === 'api' ? scene[kind].slice(0, 1) : scene[kind]; // a refresh token is none of the API's business
    const answers = await Promise.all(asked.map((token) => other.post('/oauth2/introspect', scene[caller], { token })));
    return answers.some(({ body }) => isGranted(body));
  };
const isActive = (body: Record<string, unknown>) => body.active === true;
const mayWrite = (body: Record<string, unknown>) => /write/.test(String(body.scope));
const clientTokenActive = introspecting('tokens', 'api', isActive);
const userTokenActive = introspecting('userTokens', 'app', isActive);

type Change = (scene: Scene) => Promise<void>;

async function change(method: string, path: string, body?: unknown): Promise<void> {
  const answer = await server.admin.request(method, path, body);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
}
const apiPath = ({ identifier }: Scene) => `/resource-servers/${encodeURIComponent(identifier)}`;
const policyPath = (scene: Scene) => `${apiPath(scene)}/clients/${scene.app.clientId}`;

const CHANGES: [string, Change, Probe[]][] = [
  [
    'a disabled client',
    ({ app }) => change('POST', `/clients/${app.clientId}/disable`),
    [getsToken, clientTokenActive],
  ],
  ['a removed client', ({ app }) => change('DELETE', `/clients/${app.clientId}`), [getsToken, clientTokenActive]],
  [
    'the revoked tokens of a client',
    ({ app }) => change('POST', `/clients/${app.clientId}/revoke-tokens`),
    [clientTokenActive],
  ],
  ['a removed policy row', (scene) => change('DELETE', policyPath(scene)), [getsToken, clientTokenActive]],
  [
    'a narrower policy row',
    (scene) => change('PUT', policyPath(scene), { scopes: ['read'] }),
    [getsWrite, introspecting('tokens', 'api', mayWrite)],
  ],
  [
    'a secret that was replaced without overlap',
    ({ app }) => change('POST', `/clients/${app.clientId}/secrets`, {}),
    [getsToken],
  ],
  ['a removed secret', removeSecret, [getsToken]],
  ['a disabled user', ({ userId }) => change('POST', `/users/${userId}/disable`), [userTokenActive, refreshes]],
  [
    'the revoked tokens of a user',
    ({ userId }) => change('POST', `/users/${userId}/revoke-tokens`),
    [userTokenActive, refreshes],
  ],
  ['an API with fewer scopes', (scene) => change('PATCH', apiPath(scene), { scopes: ['read'] }), [getsWrite]],
  [
    'an API with another introspection client',
    (scene) => change('PATCH', apiPath(scene), { introspection_client_id: null }),
    [clientTokenActive],
  ],
  ['an API that is gone', (scene) => change('DELETE', apiPath(scene)), [getsToken, clientTokenActive]],
];

async function removeSecret({ app }: Scene): Promise<void> {
  const path = `/clients/${app.clientId}/secrets`;
  await change('POST', path, { overlap_seconds: 3_600 });
  const { rows } = await server.sql.query(
    'SELECT id FROM client_secrets WHERE client_id = $1 AND expires_at IS NOT NULL',
    [app.clientId],
  );
  await change('DELETE', `${path}/${rows[0].id}`);
}

/** @returns how many of ten requests, the first of which is sent at once, are granted */
async function countGranted(isGranted: () => Promise<boolean>): Promise<number> {
  let granted = 0;
  for (let request = 0; request < 10; request++) if (await isGranted()) granted++;
  return granted;
}

async function expectChangeCounts(apply: Change, probes: readonly Probe[]): Promise<void> {
  const scene = await newScene();
  for (let time = 0; time < 3; time++) {
    for (const probe of probes) expect(await probe(scene)).toBe(true);
  }
  await apply(scene);
  const granted = await Promise.all(probes.map((probe) => countGranted(() => probe(scene))));
  expect(granted).toEqual(probes.map(() => 0));
}

describe('holds on the other node, which has used it a moment ago:', () => {
  test.each(CHANGES)('%s', (_name, apply, probes) => expectChangeCounts(apply, probes));
});

describe('holds on the other node while the listeners of both lose their connections all the time:', () => {
  let isOver: boolean;
  let killed: number;
  let killing: Promise<void>;
  beforeEach(() => {
    [isOver, killed] = [false, 0];
    killing = (async () => {
      while (!isOver) {
        await until(async () => isOver || (await killNamed(server.sql, 'lanyard-changes')) > 0, 'a listener');
        killed++;
      }
    })();
  });
  afterEach(async () => {
    isOver = true;
    await killing;
  });

  test.each(CHANGES)('%s', async (_name, apply, probes) => {
    // Again, when it was over before both listeners had lost a connection.
    do await expectChangeCounts(apply, probes);
    while (killed < 2);
  });
});

describe('of 100 changes that race with requests that load the row, none leaves an old value behind', () => {
  beforeAll(() => server.admin.createApi(API, { scopes: ['read', 'write'] }));

  test('while both listen, twice over', async () => {
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => raceManyTimes(50)));
    expect(outcomes).toEqual([50, 50, 50, 50]);
  });

  test('while their listeners come and go', async () => {
    let isOver = false;
    const killing = (async () => {
      // Each time when one listener is back, or both are, in turn.
      for (let round = 0; !isOver; round++) {
        await until(async () => isOver || (await countNamed(server.sql, 'lanyard-changes')) > round % 2, 'listeners');
        await killNamed(server.sql, 'lanyard-changes');
      }
    })();
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => raceManyTimes(25)));
    isOver = true;
    await killing;
    expect(outcomes).toEqual([25, 25, 25, 25]);
  });
});

/**
 * The row is touched some times while the first node changes it, so that the other node loads it
 * meanwhile. Nothing changes after that: an old value that was remembered stays.
 */
async function raceManyTimes(races: number): Promise<number> {
  const app = await server.admin.createClient();
  await server.admin.allow(app.clientId, API, ['read']);
  const scope = async () => (await other.post('/oauth2/token', app, CC)).body.scope;
  const touch = 'UPDATE client_grants SET updated_at = now() WHERE client_id = $1';
  for (let race = 0; race < races; race++) {
    let isOver = false;
    const untilOver = async () => {
      while (!isOver) await scope();
    };
    const touchSometimes = async () => {
      for (let time = 0; time < race % 8; time++) await server.sql.query(touch, [app.clientId]);
    };
    const requests = Array.from({ length: 3 }, untilOver);
    const scopes = race % 2 === 0 ? ['read', 'write'] : ['read'];
    await Promise.all([touchSometimes(), server.admin.allow(app.clientId, API, scopes)]);
    isOver = true;
    await Promise.all(requests);
    await until(async () => (await scope()) === scopes.join(' '), `the new scopes of race ${race}`);
  }
  return races;
}
