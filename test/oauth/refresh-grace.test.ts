// The grace period of rotated refresh tokens, for two tabs that refresh at once: within it a second
// use of a token without a key is only refused (refresh-reuse.test has those that give tokens).
// After it, a second use revokes the token family (RFC 9700 §4.14.2).

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { postForm, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  obtainCode,
  obtainTokens,
  PUBLIC,
  REDIRECT_URI,
  refresh,
  tally,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startOtherNode } from '../support/other-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';

const DESCRIPTION = 'this refresh token was used a moment ago; use the one that was issued for it';

let server: TestServer;
let app: TestClient;
let strict: TestClient;
let lenient: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  strict = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 0 });
  lenient = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: 60 });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

const signIn = (client: TestClient) =>
  obtainTokens(server, client, { scope: 'openid offline_access', prompt: 'consent' });

/** At userinfo: a public client may not introspect. */
const isAccepted = async (accessToken: string) => (await userinfo(server, accessToken)).status === 200;

/** As if the token had been used so much earlier. */
async function ageUse(refreshToken: string, seconds: number): Promise<void> {
  const text = `UPDATE oidc_artifacts SET consumed_at = consumed_at - make_interval(secs => $2)
    WHERE model = 'RefreshToken' AND id = $1`;
  const { rowCount } = await server.sql.query(text, [artifactId('RefreshToken', refreshToken), seconds]);
  expect(rowCount).toBe(1);
}

test('20 tabs at once: one gets new tokens, the others are told, and the family lives on', async () => {
  const { refreshToken } = await signIn(app);
  const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(server, app, refreshToken)));
  expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
  for (const { status, body } of answers) if (status !== 200) expect(body.error_description).toBe(DESCRIPTION);
  const winner = toTokens(answers.find(({ status }) => status === 200) as never);
  expect(await isAccepted(winner.accessToken)).toBe(true);
  expect((await refresh(server, app, winner.refreshToken)).status).toBe(200);
});

test('a second request within the grace period gets the same description, and no token', async () => {
  const { refreshToken } = await signIn(app);
  const first = toTokens(await refresh(server, app, refreshToken));
  const { status, body } = await refresh(server, app, refreshToken);
  expect([status, body]).toEqual([400, { error: 'invalid_grant', error_description: DESCRIPTION }]);
  expect((await refresh(server, app, first.refreshToken)).status).toBe(200);
});

test('two tabs at two nodes: the same at each node', async () => {
  const other = await startOtherNode(server);
  try {
    const { refreshToken } = await signIn(app);
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
    const atOther = () => other.post('/oauth2/token', app, form);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => [refresh(server, app, refreshToken), atOther()] as const).flat(),
    );
    const [winner, ...more] = answers.filter(({ status }) => status === 200);
    expect(more).toEqual([]);
    for (const { status, body } of [...answers, await atOther()]) {
      if (status !== 200) expect([status, body.error_description]).toEqual([400, DESCRIPTION]);
    }
    const next = { grant_type: 'refresh_token', refresh_token: winner?.body.refresh_token as string };
    expect((await other.post('/oauth2/token', app, next)).status).toBe(200);

    const late = await signIn(lenient);
    const first = toTokens(await refresh(server, lenient, late.refreshToken));
    await ageUse(late.refreshToken, 61);
    const replay = { grant_type: 'refresh_token', refresh_token: late.refreshToken };
    expect((await other.post('/oauth2/token', lenient, replay)).body.error_description).toBe(
      'grant request is invalid',
    );
    expect(await isAccepted(first.accessToken)).toBe(false);
  } finally {
    await other.stop();
  }
});

test('without its key, a bound refresh token can neither be used nor end its token family', async () => {
  const signer = await newSigner();
  const htu = `${server.issuer}/oauth2/token`;
  const withKey = async (form: Record<string, string>) =>
    postForm(htu, lenient, form, { dpop: await dpopProof(signer, { htm: 'POST', htu }) });
  const { code, verifier } = await obtainCode(server, lenient, { scope: 'openid offline_access', prompt: 'consent' });
  const grant = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  const { refreshToken } = toTokens(await withKey(grant));
  const used = { grant_type: 'refresh_token', refresh_token: refreshToken };
  const second = toTokens(await withKey(used));
  expect((await refresh(server, lenient, refreshToken)).body.error).toBe('invalid_grant');
  await ageUse(refreshToken, 61);
  expect((await refresh(server, lenient, refreshToken)).body.error).toBe('invalid_grant');
  const third = toTokens(await withKey({ ...used, refresh_token: second.refreshToken }));
  // With the key, a second use is a replay.
  expect((await withKey(used)).body.error).toBe('invalid_grant');
  expect((await withKey({ ...used, refresh_token: third.refreshToken })).body.error).toBe('invalid_grant');
});

test('after that moment it is a replay: a thief who comes late ends the family, and gets nothing', async () => {
  const { refreshToken } = await signIn(lenient);
  const first = toTokens(await refresh(server, lenient, refreshToken));
  await ageUse(refreshToken, 30);
  const inTime = await refresh(server, lenient, refreshToken);
  expect([inTime.status, inTime.body.error_description]).toEqual([400, DESCRIPTION]);
  expect(await isAccepted(first.accessToken)).toBe(true);
  await ageUse(refreshToken, 31);
  const late = await refresh(server, lenient, refreshToken);
  expect([late.status, late.body.error_description]).toEqual([400, 'grant request is invalid']);
  expect(await isAccepted(first.accessToken)).toBe(false);
  expect((await refresh(server, lenient, first.refreshToken)).status).toBe(400);
});

test('a client without a grace period', async () => {
  const { refreshToken } = await signIn(strict);
  const first = toTokens(await refresh(server, strict, refreshToken));
  expect((await refresh(server, strict, refreshToken)).body.error_description).toBe('grant request is invalid');
  expect(await isAccepted(first.accessToken)).toBe(false);
});

test('another client learns nothing about the token', async () => {
  const { refreshToken } = await signIn(app);
  await refresh(server, app, refreshToken);
  expect((await refresh(server, lenient, refreshToken)).body.error_description).toBe('grant request is invalid');
});

test.each([-1, 61, 1.5, '10', null])('refresh_token_grace_seconds %j', async (value) => {
  const metadata = { ...CODE_FLOW, ...PUBLIC, refresh_token_grace_seconds: value };
  expect((await server.admin.request('POST', '/clients', metadata)).status).toBe(400);
});
