// Codes, refresh tokens and userinfo on both transports: with a code or token that only one of them
// refuses, an attacker would get what the other one protects.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { revoke, type TestClient } from '../support/admin.ts';
import { basic, plain, type Sent, sameBothWays } from '../support/both-ways.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  type Params,
  PUBLIC,
  REDIRECT_URI,
  refresh,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, type UserAgent } from '../support/user-agent.ts';

const [JWT, OPAQUE] = ['https://jwt.example', 'https://opaque.example'];
const BOB = { username: 'bob', password: 'another battery staple' };
const CLAIMS = { name: 'Alice Ünïcode', phone_number: '+49 30 1234', address: { locality: 'Berlin' } };

let server: TestServer;
let aliceId: string;
let bobId: string;
/** One browser, so that two requests have the same session. */
let agent: UserAgent;
const clients = new Map<string, TestClient>();
const of = (name: string) => clients.get(name) as TestClient;

async function add(name: string, metadata: Record<string, unknown> = {}): Promise<void> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...metadata });
  for (const identifier of [JWT, OPAQUE] as string[])
    await server.admin.allow(client.clientId, identifier, ['read', 'write']);
  clients.set(name, client);
}

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  aliceId = await admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com', claims: CLAIMS });
  bobId = await admin.createUser(BOB.username, BOB.password);
  agent = createUserAgent(server.issuer);
  const scopes = ['read', 'write', 'delete'];
  await admin.createApi(JWT as string, { scopes });
  await admin.createApi(OPAQUE as string, { scopes, access_token_format: 'opaque', access_token_ttl_seconds: 77 });
  await add('public', PUBLIC);
  await add('basic');
  await add('post', { token_endpoint_auth_method: 'client_secret_post' });
  await add('without refresh', { grant_types: ['authorization_code'] });
  await add('without PKCE', { require_pkce: false });
  await add('ES256', { id_token_signed_response_alg: 'ES256', ...PUBLIC });
  await add('claims in ID tokens', { id_token_claims: 'scopes', ...PUBLIC });
  await add('pairwise', { subject_type: 'pairwise', ...PUBLIC });
  await add('signed userinfo', { userinfo_signed_response_alg: 'ES256', ...PUBLIC });
  await add('DPoP', { dpop_bound_access_tokens: true, ...PUBLIC });
  await add('refresh only by code', { ...PUBLIC, refresh_token_grace_seconds: 0 });
});
afterAll(() => server.stop());

/** A token request as this client authenticates it. */
function form(name: string, params: Params): Sent {
  const client = of(name);
  const defined = Object.entries(params).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const all = Object.fromEntries(defined);
  if (client.clientSecret === '')
    return { body: new URLSearchParams({ ...all, client_id: client.clientId }).toString() };
  return plain(client, all);
}

async function codeForm(name: string, params: Params = {}, change: Params = {}): Promise<Sent> {
  const { code, verifier } = await obtainCode(server, of(name), params, { agent });
  return form(name, {
    ...{ grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, code_verifier: verifier },
    ...change,
  });
}

async function refreshForm(name: string, params: Params = {}, change: Params = {}): Promise<Sent> {
  const { refreshToken } = await obtainTokens(server, of(name), params, { agent });
  return form(name, { grant_type: 'refresh_token', refresh_token: refreshToken, ...change });
}

const sameAtToken = (make: () => Promise<Sent>) => sameBothWays(server, '/oauth2/token', make);
const NO_PKCE = { code_challenge: undefined, code_challenge_method: undefined };

const REQUESTS: [string, string, Params][] = [
  ['a public client', 'public', {}],
  ['client_secret_basic', 'basic', {}],
  ['client_secret_post', 'post', {}],
  ['claims of the user', 'public', { scope: 'openid profile email address phone' }],
  ['no openid', 'public', { scope: 'read', resource: JWT }],
  ['a JWT for a resource server', 'public', { scope: 'openid profile read', resource: JWT }],
  ['an opaque token for a resource server', 'public', { scope: 'openid read write', resource: OPAQUE }],
  ['a scope beyond the policy', 'public', { scope: 'openid read delete', resource: JWT }],
  ['offline_access', 'public', { scope: 'openid offline_access', prompt: 'consent' }],
  ['a nonce', 'basic', { nonce: 'n-0S6_WzA2Mj' }],
  ['ES256', 'ES256', {}],
  ['claims of the user in the ID token', 'claims in ID tokens', { scope: 'openid profile email' }],
  ['a pairwise subject', 'pairwise', { scope: 'openid email' }],
];

describe('a code is exchanged without the engine, with the same answer and the same audit events:', () => {
  test.each<[string, string, Params, Params]>([
    ...REQUESTS.map(([name, client, params]): [string, string, Params, Params] => [name, client, params, {}]),
    ['a client that wants no refresh token', 'without refresh', {}, {}],
    ['a client that need not use PKCE', 'without PKCE', NO_PKCE, { code_verifier: undefined }],
    ['the same with PKCE', 'without PKCE', {}, {}],
  ])('%s', async (_name, client, params, change) => {
    const { status, body, events, isFast } = await sameAtToken(() => codeForm(client, params, change));
    const count = body.refresh_token === undefined ? 1 : 2;
    expect([status, events, isFast]).toEqual([
      200,
      Array.from({ length: count }, () => expect.objectContaining({ type: 'token.issued' })),
      true,
    ]);
  });
});

describe('a refresh token is used without the engine, with the same answer and the same audit events:', () => {
  test.each(REQUESTS)('%s', async (_name, client, params) => {
    const { status, isFast } = await sameAtToken(() => refreshForm(client, params));
    expect([status, isFast]).toEqual([200, true]);
  });

  test('a public client gets another one each time, and the family keeps its age and its history', async () => {
    const { refreshToken } = await obtainTokens(server, of('public'));
    const first = await refresh(server, of('public'), refreshToken);
    await refresh(server, of('public'), first.body.refresh_token as string);
    const { rows } = await server.sql.query(
      `SELECT payload->>'rotations' AS rotations, payload->>'gty' AS gty, payload->>'iiat' AS born, consumed_at IS NULL AS alive
       FROM oidc_artifacts WHERE model = 'RefreshToken' AND client_id = $1
         AND grant_id = (SELECT grant_id FROM oidc_artifacts WHERE model = 'RefreshToken' AND client_id = $1
                         ORDER BY (payload->>'rotations')::int DESC LIMIT 1)
       ORDER BY (payload->>'rotations')::int`,
      [of('public').clientId],
    );
    expect(rows.map(({ rotations, gty, alive }) => [rotations, gty, alive])).toEqual([
      ['0', 'authorization_code', false],
      ['1', 'authorization_code refresh_token', false],
      ['2', 'authorization_code refresh_token', true],
    ]);
    expect(new Set(rows.map(({ born }) => born)).size).toBe(1);
  });

  test('a confidential client keeps its own', async () => {
    const { refreshToken } = await obtainTokens(server, of('basic'));
    for (let use = 0; use < 2; use++) {
      expect((await refresh(server, of('basic'), refreshToken)).body.refresh_token).toBe(refreshToken);
    }
  });
});

describe('the same answer and the same audit events on both transports:', () => {
  const other = 'x'.repeat(43);
  test.each<[string, () => Promise<Sent>]>([
    ['a code with another verifier', () => codeForm('public', {}, { code_verifier: other })],
    ['a code without its verifier', () => codeForm('public', {}, { code_verifier: undefined })],
    ['a code with a verifier that is too short', () => codeForm('public', {}, { code_verifier: 'short' })],
    ['a verifier for a code without a challenge', () => codeForm('without PKCE', NO_PKCE, { code_verifier: other })],
    ['a code with another redirect_uri', () => codeForm('public', {}, { redirect_uri: `${REDIRECT_URI}/` })],
    ['a code without redirect_uri', () => codeForm('public', {}, { redirect_uri: undefined })],
    ['a code that is none', () => codeForm('public', {}, { code: 'nonsense' })],
    ['a code with a resource', () => codeForm('public', { scope: 'read', resource: JWT }, { resource: JWT })],
    ['a code for a key', () => codeForm('DPoP')],
    ['a refresh for a key', async () => form('DPoP', { grant_type: 'refresh_token', refresh_token: 'lyr_nonsense' })],
    ['a refresh token that is none', () => refreshForm('public', {}, { refresh_token: 'nonsense' })],
    ['a refresh with fewer scopes', () => refreshForm('public', { scope: 'openid email' }, { scope: 'openid' })],
    ['a refresh with more scopes', () => refreshForm('public', { scope: 'openid' }, { scope: 'openid email' })],
    ['a refresh with a resource', () => refreshForm('public', { scope: 'read', resource: JWT }, { resource: JWT })],
    ['a refresh without a token', () => refreshForm('public', {}, { refresh_token: undefined })],
    ['a refresh of a client that may not', () => codeForm('without refresh', {}, { grant_type: 'refresh_token' })],
    ['the claims parameter', () => codeForm('public', { claims: '{"id_token":{"email":null}}' })],
    ['the same at a refresh', () => refreshForm('public', { claims: '{"userinfo":{"email":null}}' })],
  ])('%s', async (_name, make) => {
    expect(await sameAtToken(make)).toMatchObject({ isFast: true });
  });

  test('the code of another client: a thief who is a client himself gains nothing', async () => {
    const { isFast, status, body } = await sameAtToken(async () => {
      const stolen = await codeForm('basic');
      return { ...stolen, ...basicOf('without refresh') };
    });
    expect([isFast, status, body.error]).toEqual([true, 400, 'invalid_grant']);
  });

  test('the refresh token of another client', async () => {
    const { isFast, status, body } = await sameAtToken(async () => {
      const { refreshToken } = await obtainTokens(server, of('basic'), {}, { agent });
      return form('public', { grant_type: 'refresh_token', refresh_token: refreshToken });
    });
    expect([isFast, status, body.error]).toEqual([true, 400, 'invalid_grant']);
  });

  test('a code for the second time: who got in between loses what it gave (RFC 6749 §4.1.2)', async () => {
    const issued = await obtainCode(server, of('basic'));
    const { body } = await exchange(server, of('basic'), issued);
    expect(await isActive(server, of('basic'), body.access_token as string)).toBe(true);
    expect((await exchange(server, of('basic'), issued)).body.error).toBe('invalid_grant');
    expect(await isActive(server, of('basic'), body.access_token as string)).toBe(false);
    expect(await isActive(server, of('basic'), body.refresh_token as string)).toBe(false);
  });

  test('a rotated refresh token that comes back: the family ends (RFC 9700 §4.14.2)', async () => {
    const client = of('refresh only by code');
    const { refreshToken } = await obtainTokens(server, client);
    const rotated = (await refresh(server, client, refreshToken)).body.refresh_token as string;
    expect((await refresh(server, client, refreshToken)).body.error).toBe('invalid_grant');
    expect((await refresh(server, client, rotated)).body.error).toBe('invalid_grant');
  });
});

const basicOf = (name: string) => ({ headers: basic(of(name).clientId, of(name).clientSecret) });

describe('what has ended', () => {
  const refusedBothWays = async (make: () => Promise<Sent>) => {
    const { isFast, status, body } = await sameAtToken(make);
    expect([isFast, status, body.error]).toEqual([true, 400, 'invalid_grant']);
  };

  test('a revoked refresh token', () =>
    refusedBothWays(async () => {
      const { refreshToken } = await obtainTokens(server, of('basic'));
      await revoke(server.issuer, of('basic'), refreshToken);
      return form('basic', { grant_type: 'refresh_token', refresh_token: refreshToken });
    }));

  test('a session, and with it the tokens without offline_access', () =>
    refusedBothWays(async () => {
      const { refreshToken } = await obtainTokens(server, of('basic'));
      await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Session'`);
      agent = createUserAgent(server.issuer);
      return form('basic', { grant_type: 'refresh_token', refresh_token: refreshToken });
    }));

  test('an expired code', () =>
    refusedBothWays(async () => {
      const sent = await codeForm('public');
      const age = `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{exp}', '1')::json WHERE model = 'AuthorizationCode'`;
      await server.sql.query(age);
      return sent;
    }));

  test('an expired grant', () =>
    refusedBothWays(async () => {
      const sent = await refreshForm('public');
      const age = `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{exp}', '1')::json WHERE model = 'Grant'`;
      await server.sql.query(age);
      agent = createUserAgent(server.issuer);
      return sent;
    }));

  test('a disabled user', async () => {
    const { refreshToken } = await obtainTokens(server, of('basic'), {}, { user: BOB });
    expect((await server.admin.request('POST', `/users/${bobId}/disable`)).status).toBe(200);
    const sent = form('basic', { grant_type: 'refresh_token', refresh_token: refreshToken });
    await refusedBothWays(async () => sent);
  });
});

describe('userinfo', () => {
  const same = (sent: Sent) => sameBothWays(server, '/oauth2/userinfo', { method: 'GET', ...sent });
  const bearer = (token: string, scheme = 'Bearer'): Sent => ({ headers: { authorization: `${scheme} ${token}` } });
  const accessToken = async (name: string, params: Params = {}) =>
    (await obtainTokens(server, of(name), params)).accessToken;

  test.each<[string, string, Params]>([
    ['the subject', 'public', {}],
    ['all claims', 'basic', { scope: 'openid profile email address phone' }],
    ['some claims', 'public', { scope: 'openid email' }],
    ['offline_access', 'public', { scope: 'openid offline_access', prompt: 'consent' }],
    ['a pairwise subject', 'pairwise', { scope: 'openid profile' }],
    ['a JWT for an API', 'public', { scope: 'openid email read', resource: JWT }],
    ['an opaque token for an API', 'pairwise', { scope: 'openid email read', resource: OPAQUE }],
  ])('is answered without the engine, with the same answer: %s', async (_name, client, params) => {
    const { status, body, isFast } = await same(bearer(await accessToken(client, params)));
    expect([status, isFast]).toEqual([200, true]);
    expect(body.sub).toEqual(expect.any(String));
  });

  test('has the words of the user as they are', async () => {
    const { body } = await same(bearer(await accessToken('public', { scope: 'openid profile' })));
    expect(body.name).toBe(CLAIMS.name);
  });

  test.each<[string, () => Promise<Sent>]>([
    ['nothing', async () => ({})],
    [
      'a token for an API without openid',
      async () => bearer(await accessToken('public', { scope: 'read', resource: OPAQUE })),
    ],
    ['a JWT without openid', async () => bearer(await accessToken('public', { scope: 'read', resource: JWT }))],
    ['a refresh token', async () => bearer((await obtainTokens(server, of('public'))).refreshToken)],
    [
      'a token of a client',
      async () => {
        const client = await server.admin.createClient();
        await server.admin.allow(client.clientId, OPAQUE as string, ['read']);
        return bearer(await clientToken(server, client));
      },
    ],
    ['something that is not a token', async () => bearer('lya_nonsense')],
    ['another scheme', async () => bearer(await accessToken('public'), 'DPoP')],
    ['a scheme in small letters', async () => bearer(await accessToken('public'), 'bearer')],
    ['two blanks', async () => bearer(await accessToken('public'), 'Bearer ')],
    [
      'a DPoP proof',
      async () => {
        const { headers } = bearer(await accessToken('public'));
        return { headers: { ...headers, dpop: 'x.y.z' } };
      },
    ],
    ['a token in the body', async () => ({ method: 'POST', body: `access_token=${await accessToken('public')}` })],
    [
      'the claims parameter',
      async () => bearer(await accessToken('public', { claims: '{"userinfo":{"email":null}}' })),
    ],
    ['a client that wants it signed', async () => bearer(await accessToken('signed userinfo'))],
    [
      'an Origin',
      async () => {
        const { headers } = bearer(await accessToken('public'));
        return { headers: { ...headers, origin: new URL(REDIRECT_URI).origin } };
      },
    ],
  ])('has the same answer on both transports: %s', async (name, make) => {
    const { isFast } = await same(await make());
    expect(isFast).toBe(name !== 'a token in the body');
  });

  test('ends with the token, its session and its user', async () => {
    const revoked = await accessToken('basic');
    await revoke(server.issuer, of('basic'), revoked);
    expect(await same(bearer(revoked))).toMatchObject({ isFast: true, status: 401 });

    const ended = await accessToken('public');
    await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Session'`);
    expect(await same(bearer(ended))).toMatchObject({ isFast: true, status: 401 });
  });

  test('ends with the session although a request that was underway has stored that once more', async () => {
    const ended = await accessToken('public');
    expect(await same(bearer(ended))).toMatchObject({ isFast: true, status: 200 });
    await server.sql.query(`CREATE TABLE kept AS SELECT * FROM oidc_artifacts WHERE model = 'Session'`);
    const { body } = await server.admin.request('GET', `/users/${aliceId}/sessions?limit=100`);
    for (const { id } of body.items as { id: string }[]) {
      expect((await server.admin.request('DELETE', `/users/${aliceId}/sessions/${id}`)).status).toBe(204);
    }
    await server.sql.query('INSERT INTO oidc_artifacts SELECT * FROM kept');
    expect(await same(bearer(ended))).toMatchObject({ isFast: true, status: 401 });
  });
});
