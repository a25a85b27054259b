// Two tabs, one refresh token: the second request within a moment is refused in so many words, and the app stays signed in. Later,
// or from somebody else, the same token ends the family (RFC 9700 §4.14.2).

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, isActive, obtainTokens, PUBLIC, refresh, tally, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const DESCRIPTION = 'this refresh token was used a moment ago; use the one that was issued for it';

let server: TestServer;
let app: TestClient;
let strict: TestClient;
let hasty: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  strict = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 0 });
  hasty = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 1 });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

const signIn = (client: TestClient) =>
  obtainTokens(server, client, { scope: 'openid offline_access', prompt: 'consent' });

test('20 tabs at once: one gets new tokens, the others are told, and the family lives on', async () => {
  const { refreshToken } = await signIn(app);
  const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(server, app, refreshToken)));
  expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
  for (const { status, body } of answers) if (status !== 200) expect(body.error_description).toBe(DESCRIPTION);
  const winner = toTokens(answers.find(({ status }) => status === 200) as never);
  expect(await isActive(server, app, winner.accessToken)).toBe(true);
  expect((await refresh(server, app, winner.refreshToken)).status).toBe(200);
});

test('a second request a moment later is told the same, and gets no token', async () => {
  const { refreshToken } = await signIn(app);
  const first = toTokens(await refresh(server, app, refreshToken));
  const { status, body } = await refresh(server, app, refreshToken);
  expect([status, body]).toEqual([400, { error: 'invalid_grant', error_description: DESCRIPTION }]);
  expect((await refresh(server, app, first.refreshToken)).status).toBe(200);
});

test('after that moment it is a replay: a thief who comes late ends the family, and gets nothing', async () => {
  const { refreshToken } = await signIn(hasty);
  const first = toTokens(await refresh(server, hasty, refreshToken));
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  const late = await refresh(server, hasty, refreshToken);
  expect([late.status, late.body.error_description]).toEqual([400, 'grant request is invalid']);
  expect(await isActive(server, hasty, first.accessToken)).toBe(false);
  expect((await refresh(server, hasty, first.refreshToken)).status).toBe(400);
});

test('a client that wants no such moment has none', async () => {
  const { refreshToken } = await signIn(strict);
  const first = toTokens(await refresh(server, strict, refreshToken));
  expect((await refresh(server, strict, refreshToken)).body.error_description).toBe('grant request is invalid');
  expect(await isActive(server, strict, first.accessToken)).toBe(false);
});

test('another client learns nothing about the token', async () => {
  const { refreshToken } = await signIn(app);
  await refresh(server, app, refreshToken);
  expect((await refresh(server, hasty, refreshToken)).body.error_description).toBe('grant request is invalid');
});

test.each([-1, 61, 1.5, '10', null])('refresh_token_grace_seconds %j', async (value) => {
  const metadata = { ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: value };
  expect((await server.admin.request('POST', '/clients', metadata)).status).toBe(400);
});
