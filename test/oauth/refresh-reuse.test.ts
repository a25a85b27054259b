// A refresh token that is used again within its grace, by two tabs or after a lost answer. Its client, if it authenticates or proves
// the key of the token, gets tokens, three times at most. Who has only stolen the token gets nothing.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client, RefreshToken } from 'oidc-provider';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { mayReuse } from '../../src/provider/tokens/refresh-grace.ts';
import { type Answer, postForm, type TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, isActive, obtainCode, PUBLIC, REDIRECT_URI, tally, toTokens } from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner, type Signer } from '../support/signing.ts';

const DESCRIPTION = 'this refresh token was used a moment ago; use the one that was issued for it';
const REPLAY = 'grant request is invalid';

const API = 'https://api.example';

let server: TestServer;
let api: TestClient;
let other: OtherNode;
let htu: string;

beforeAll(async () => {
  server = await startTestServer();
  other = await startOtherNode(server);
  htu = `${server.issuer}/oauth2/token`;
  await server.admin.createUser(ALICE.username, ALICE.password);
  api = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'], introspection_client_id: api.clientId });
});
afterAll(async () => {
  await other.stop();
  await server.stop();
});

/** An app with a refresh token, and how it proves to be that app. */
interface Family {
  readonly app: TestClient;
  readonly refreshToken: string;
  readonly headers: () => Promise<Record<string, string>>;
}

const NO_PROOF = async () => ({});
const proofOf = (signer: Signer) => async () => ({ dpop: await dpopProof(signer, { htm: 'POST', htu }) });

async function signIn(app: TestClient, headers: Family['headers'] = NO_PROOF): Promise<Family> {
  const asked = { scope: 'openid offline_access read', prompt: 'consent', resource: API };
  const issued = await obtainCode(server, app, asked);
  const { code, verifier } = issued;
  const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  const { refreshToken } = toTokens(await postForm(htu, app, form, await headers()));
  return { app, refreshToken, headers };
}

async function refreshAs({ app, headers }: Omit<Family, 'refreshToken'>, refreshToken: string): Promise<Answer> {
  return postForm(htu, app, { grant_type: 'refresh_token', refresh_token: refreshToken }, await headers());
}
const use = (family: Family) => refreshAs(family, family.refreshToken);
async function useAtOther({ app, refreshToken, headers }: Family) {
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
  return other.post('/oauth2/token', app, form, await headers());
}

async function publicApp(members: Record<string, unknown> = {}): Promise<TestClient> {
  const app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, ...members });
  await server.admin.allow(app.clientId, API, ['read']);
  return app;
}

async function boundFamily(members: Record<string, unknown> = {}): Promise<Family> {
  return signIn(await publicApp(members), proofOf(await newSigner()));
}

/** Was public when its token rotated, and authenticates since. */
async function authenticatedFamily(): Promise<Family & { readonly first: Answer }> {
  const app = await publicApp();
  const family = await signIn(app);
  const first = await use(family);
  const { status } = await server.admin.request('PATCH', `/clients/${app.clientId}`, {
    token_endpoint_auth_method: 'client_secret_basic',
  });
  expect(status).toBe(200);
  const { body } = await server.admin.request('POST', `/clients/${app.clientId}/secrets`, {});
  return { ...family, app: { ...app, clientSecret: body.client_secret as string }, first };
}

async function ageUse(refreshToken: string, seconds: number): Promise<void> {
  const text = `UPDATE oidc_artifacts SET consumed_at = consumed_at - make_interval(secs => $2)
    WHERE model = 'RefreshToken' AND id = $1`;
  expect((await server.sql.query(text, [artifactId('RefreshToken', refreshToken), seconds])).rowCount).toBe(1);
}

async function events(app: TestClient, type: string): Promise<number> {
  const { body } = await server.admin.request('GET', `/audit-events?type=${type}&client_id=${app.clientId}`);
  return (body.items as unknown[]).length;
}
const REUSED = 'refresh_token.reused_in_grace';

function expectRefused({ status, body }: Pick<Answer, 'status' | 'body'>, description: string): void {
  expect([status, body]).toEqual([400, { error: 'invalid_grant', error_description: description }]);
}

describe('a second use within the grace', () => {
  test('by the holder of the key of the token gives tokens that live, each with its audit event', async () => {
    const family = await boundFamily();
    const answers = [await use(family), await use(family), await useAtOther(family)];
    const tokens = answers.map((answer) => toTokens(answer as Answer));
    expect(new Set(tokens.map(({ refreshToken }) => refreshToken)).size).toBe(3);
    for (const { accessToken, refreshToken } of tokens) {
      expect(await isActive(server, api, accessToken)).toBe(true);
      expect((await refreshAs(family, refreshToken)).status).toBe(200);
    }
    expect(await events(family.app, REUSED)).toBe(2);
    expect(await events(family.app, 'token.replayed')).toBe(0);
  });

  test('by a client that authenticates gives tokens', async () => {
    const family = await authenticatedFamily();
    const again = toTokens(await use(family));
    expect(again.refreshToken).not.toBe(toTokens(family.first).refreshToken);
    expect((await refreshAs(family, again.refreshToken)).body.refresh_token).toBe(again.refreshToken);
    expect(await isActive(server, api, toTokens(family.first).accessToken)).toBe(true);
    expect(await events(family.app, REUSED)).toBe(1);
  });

  test('by a public client without a key gives tokens only if it is registered so', async () => {
    const family = await signIn(await publicApp({ refresh_token_reuse_in_grace: true }));
    expect([(await use(family)).status, (await use(family)).status]).toEqual([200, 200]);
    const usual = await signIn(await publicApp());
    expect((await use(usual)).status).toBe(200);
    expectRefused(await use(usual), DESCRIPTION);
    expect(await events(usual.app, REUSED)).toBe(0);
  });

  test.each([
    ['two at one node', [use, use], 2],
    ['two at two nodes', [use, useAtOther], 2],
    ['twenty at two nodes: four of them', Array.from({ length: 20 }, (_, n) => (n % 2 ? useAtOther : use)), 4],
  ])('at the same moment: %s', async (_name, uses, expected) => {
    const family = await boundFamily();
    const answers = (await Promise.all(uses.map((each) => each(family)))) as Answer[];
    const refusals = expected === uses.length ? [] : ['400 invalid_grant'];
    expect(tally(answers)).toEqual({ succeeded: expected, refusals });
    for (const answer of answers) {
      if (answer.status !== 200) expectRefused(answer, DESCRIPTION);
      else expect(await isActive(server, api, toTokens(answer).accessToken)).toBe(true);
    }
    expect(await events(family.app, REUSED)).toBe(expected - 1);
    expect(await events(family.app, 'token.replayed')).toBe(0);
  });
});

describe('nothing is gained', () => {
  test('by more than three uses: the fourth is refused, and the family lives on', async () => {
    const family = await boundFamily();
    const first = toTokens(await use(family));
    for (let again = 0; again < 3; again++) expect((await use(family)).status).toBe(200);
    for (let again = 0; again < 2; again++) expectRefused(await use(family), DESCRIPTION);
    expect((await refreshAs(family, first.refreshToken)).status).toBe(200);
    expect(await events(family.app, REUSED)).toBe(3);
  });

  test('by a use after the grace: it revokes the family, siblings included', async () => {
    const family = await boundFamily();
    const [first, sibling] = [toTokens(await use(family)), toTokens(await use(family))];
    await ageUse(family.refreshToken, 10);
    expectRefused(await use(family), REPLAY);
    for (const { accessToken, refreshToken } of [first, sibling]) {
      expect(await isActive(server, api, accessToken)).toBe(false);
      expectRefused(await refreshAs(family, refreshToken), REPLAY);
    }
    expect(await events(family.app, 'token.replayed')).toBe(1);
  });

  test('by a thief with the token, but without the key, with another key or as another client', async () => {
    const family = await boundFamily();
    await use(family);
    const { app } = family;
    const stranger = await publicApp({ refresh_token_reuse_in_grace: true });
    const thieves = [
      { app, headers: NO_PROOF },
      { app, headers: proofOf(await newSigner()) },
      { app: stranger, headers: family.headers },
    ];
    for (const thief of thieves) expectRefused(await refreshAs(thief, family.refreshToken), REPLAY);
    // Nor has the thief used up what the app may use.
    for (let again = 0; again < 3; again++) expect((await use(family)).status).toBe(200);
    expect(await events(stranger, REUSED)).toBe(0);
  });

  test('by a thief without the credentials of a client that authenticates', async () => {
    const { app, refreshToken } = await authenticatedFamily();
    for (const clientSecret of ['', 'wrong']) {
      const answer = await refreshAs({ app: { ...app, clientSecret }, headers: NO_PROOF }, refreshToken);
      expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client']);
    }
    expect(await events(app, REUSED)).toBe(0);
  });

  test('after the family was revoked', async () => {
    const family = await boundFamily();
    const { refreshToken } = toTokens(await use(family));
    await postForm(`${server.issuer}/oauth2/revoke`, family.app, { token: refreshToken });
    expectRefused(await use(family), REPLAY);
    expectRefused((await useAtOther(family)) as Answer, REPLAY);
  });

  test('with a grace of 0: that is a replay', async () => {
    const family = await boundFamily({ refresh_token_grace_seconds: 0, refresh_token_reuse_in_grace: true });
    const first = toTokens(await use(family));
    expectRefused(await use(family), REPLAY);
    expect(await isActive(server, api, first.accessToken)).toBe(false);
  });
});

test('the switch is true or false', async () => {
  const metadata = { ...CODE_FLOW, ...PUBLIC, refresh_token_reuse_in_grace: 'yes' };
  expect((await server.admin.request('POST', '/clients', metadata)).status).toBe(400);
});

test('FAPI 2.0 Security Profile §5.3.2.1: a client of that profile keeps its own rule, also with a key', () => {
  const bound = { jkt: 'the thumbprint of a key' } as RefreshToken;
  const client = { clientAuthMethod: 'private_key_jwt' } as Client;
  expect(mayReuse(client, bound)).toBe(true);
  expect(mayReuse({ ...client, security_profile: 'fapi2' } as unknown as Client, bound)).toBe(false);
});
