// Refresh tokens (RFC 6749 §6, RFC 9700 §4.14): rotated for public clients, with reuse as a sign of
// theft; not rotated for confidential clients, which authenticate.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { refreshTokenGrant } from 'openid-client';
import type { TestClient } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  honest,
  isActive,
  loggedFailures,
  obtainTokens,
  PUBLIC,
  refresh,
  tally,
  toTokens,
} from '../support/oauth.ts';
import { eventually } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent } from '../support/user-agent.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';
const APIS = [
  ['JWT', JWT_API],
  ['opaque', OPAQUE_API],
] as const;

let server: TestServer;
let api: TestClient;
let confidential: TestClient;
let publicApp: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  api = await admin.createClient();
  const members = { scopes: ['read', 'write'], introspection_client_id: api.clientId };
  await admin.createApi(JWT_API, members);
  await admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  confidential = await newApp({});
  publicApp = await newApp({ ...PUBLIC, refresh_token_grace_seconds: 0 });
});
afterAll(() => server.stop());

async function newApp(members: Record<string, unknown>): Promise<TestClient> {
  const app = await server.admin.createClient({ ...CODE_FLOW, ...members });
  for (const [, identifier] of APIS) await server.admin.allow(app.clientId, identifier, ['read', 'write']);
  return app;
}

const forUser = (client: TestClient, resource: string = JWT_API, options = {}) =>
  obtainTokens(server, client, { scope: 'openid read write', resource }, options);

async function expectRefused(client: TestClient, refreshToken: string, error = 'invalid_grant'): Promise<void> {
  const answer = await refresh(server, client, refreshToken);
  expect([answer.status, answer.body.error]).toEqual([400, error]);
  expect(answer.body).not.toHaveProperty('access_token');
}

async function replaysOf(client: TestClient): Promise<number> {
  const { body } = await server.admin.request('GET', `/audit-events?type=token.replayed&client_id=${client.clientId}`);
  return (body.items as unknown[]).length;
}

describe('a confidential client', () => {
  test('refreshes again and again with one token, by openid-client', async () => {
    const app = await honest(server, confidential);
    const { refreshToken, accessToken } = await forUser(confidential);
    for (let round = 0; round < 3; round++) {
      const tokens = await refreshTokenGrant(app, refreshToken);
      expect(tokens.refresh_token).toBe(refreshToken);
      expect(tokens.access_token).not.toBe(accessToken);
      expect(tokens.claims()).toMatchObject({ azp: confidential.clientId, aud: confidential.clientId });
    }
  });

  test('may request fewer scopes, not more (RFC 6749 §6)', async () => {
    const { refreshToken } = await obtainTokens(server, confidential, { scope: 'openid read', resource: JWT_API });
    const more = await refresh(server, confidential, refreshToken, { scope: 'read write' });
    expect([more.status, more.body.error]).toEqual([400, 'invalid_scope']);
    const tokens = await forUser(confidential);
    const less = await refresh(server, confidential, tokens.refreshToken, { scope: 'read' });
    expect(decodeJwt(toTokens(less).accessToken).scope).toBe('read');
  });

  test('cannot use it for an API that it was not issued for (RFC 8707 §2.2)', async () => {
    const { refreshToken } = await forUser(confidential, JWT_API);
    const answer = await refresh(server, confidential, refreshToken, { resource: OPAQUE_API });
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target']);
  });
});

describe('a public client', () => {
  test.each(APIS)(
    'gets a new one each time; reuse of the old one revokes the token family: %s',
    async (_name, resource) => {
      const first = await forUser(publicApp, resource);
      const second = toTokens(await refresh(server, publicApp, first.refreshToken));
      const third = toTokens(await refresh(server, publicApp, second.refreshToken));
      expect(new Set([first, second, third].map((tokens) => tokens.refreshToken)).size).toBe(3);

      const replaysBefore = await replaysOf(publicApp);
      await expectRefused(publicApp, first.refreshToken); // by the attacker, or by the app after the attacker
      await eventually(async () => expect(await replaysOf(publicApp)).toBe(replaysBefore + 1));
      await expectRefused(publicApp, third.refreshToken);
      for (const token of [first, second, third].map((tokens) => tokens.accessToken)) {
        expect(await isActive(server, api, token)).toBe(false);
      }
    },
  );

  test.each(APIS)(
    'of twenty parallel refreshes with one token exactly one succeeds, and its tokens are revoked: %s',
    async (_name, resource) => {
      for (let round = 0; round < 3; round++) {
        const { refreshToken, accessToken } = await forUser(publicApp, resource);
        const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(server, publicApp, refreshToken)));
        expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
        const winner = toTokens(answers.find((answer) => answer.status === 200) as (typeof answers)[0]);
        for (const token of [accessToken, winner.accessToken]) {
          expect(await isActive(server, api, token)).toBe(false);
        }
        await expectRefused(publicApp, winner.refreshToken);
      }
      expect(loggedFailures(server)).toEqual([]);
    },
  );

  test('parallel refreshes are in the audit log', async () => {
    const app = await newApp({ ...PUBLIC, refresh_token_grace_seconds: 0 });
    const { refreshToken } = await forUser(app);
    await Promise.all(Array.from({ length: 5 }, () => refresh(server, app, refreshToken)));
    await eventually(async () => expect(await replaysOf(app)).toBeGreaterThanOrEqual(1));
  });
});

describe('a refresh token is accepted from its own client only', () => {
  test('another client, confidential or public, is refused, and the token stays valid (RFC 6749 §10.4)', async () => {
    for (const [owner, caller] of [
      [confidential, publicApp],
      [publicApp, confidential],
      [confidential, await newApp({})],
    ] as const) {
      const { refreshToken } = await forUser(owner);
      await expectRefused(caller, refreshToken);
      expect((await refresh(server, owner, refreshToken)).status).toBe(200);
    }
  });

  test('a confidential client without its secret is refused', async () => {
    const { refreshToken } = await forUser(confidential);
    const answer = await refresh(server, { ...confidential, clientSecret: '' }, refreshToken);
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client']);
  });

  test('an access token, an ID token and malformed text are refused', async () => {
    const tokens = await forUser(confidential, OPAQUE_API);
    for (const token of [tokens.accessToken, tokens.idToken, 'unknown', 'jwt:a.b.c', 'a\0b', 'x'.repeat(40_000)]) {
      await expectRefused(confidential, token);
    }
  });
});

describe('a refresh token ends with', () => {
  test('the policy row', async () => {
    const app = await newApp({});
    const { refreshToken } = await forUser(app);
    const row = `/resource-servers/${encodeURIComponent(JWT_API)}/clients/${app.clientId}`;
    await server.admin.request('DELETE', row);
    await expectRefused(app, refreshToken, 'invalid_target');
    await server.admin.allow(app.clientId, JWT_API, ['read']);
    expect((await refresh(server, app, refreshToken)).body.scope).toMatch(/read$/);
  });

  test('the user', async () => {
    const user = { username: 'bob', password: 'correct horse battery' };
    const id = await server.admin.createUser(user.username, user.password);
    const { refreshToken } = await forUser(confidential, JWT_API, { user });
    await server.admin.request('POST', `/users/${id}/disable`);
    await expectRefused(confidential, refreshToken);
  });

  test('the client', async () => {
    const app = await newApp({});
    const { refreshToken } = await forUser(app);
    await server.admin.request('POST', `/clients/${app.clientId}/disable`);
    const answer = await refresh(server, app, refreshToken);
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client']);
  });

  test('its expiry', async () => {
    const { refreshToken } = await forUser(confidential);
    await server.sql.query(
      `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{exp}', '1')::json WHERE model = 'RefreshToken'`,
    );
    await expectRefused(confidential, refreshToken);
  });

  test.each([
    ['the browser session, without offline_access', 'openid read', undefined, false],
    [
      'not with the browser session, with offline_access (OpenID Connect Core §11)',
      'openid read offline_access',
      'consent',
      true,
    ],
  ])('%s', async (_name, scope, prompt, survives) => {
    const agent = createUserAgent(server.issuer);
    const app = await newApp({});
    const tokens = await obtainTokens(server, app, { scope, prompt, resource: JWT_API }, { agent });
    const page = await agent.visit(`${server.issuer}/oauth2/logout`);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.html)?.[1] as string;
    await agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, logout: 'yes' });
    expect((await refresh(server, app, tokens.refreshToken)).status).toBe(survives ? 200 : 400);
    for (const token of [tokens.accessToken, tokens.refreshToken])
      expect(await isActive(server, app, token)).toBe(survives);
  });
});
