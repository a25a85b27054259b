// Introspection on both transports: neither may tell more about a token than the other.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { revoke, type TestClient } from '../support/admin.ts';
import { basic, plain, type Sent, sameBothWays } from '../support/both-ways.ts';
import { ALICE, CODE_FLOW, clientToken, obtainCode, obtainTokens, PUBLIC } from '../support/oauth.ts';
import { untilSecond } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const [JWT, OPAQUE, FLASH, FLASH_OPAQUE] = ['jwt', 'opaque', 'flash', 'flash-opaque'].map(
  (name) => `https://${name}.example`,
) as [string, string, string, string];
const CC_AND_CODE = { ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] };
const BOB = { username: 'bob', password: 'another battery staple' };
const INACTIVE = { active: false };

let server: TestServer;
let [app, api, stranger, open]: TestClient[] = [];
const tokens = new Map<string, string>();
const token = (name: string) => tokens.get(name) as string;

async function post(path: string, method = 'POST'): Promise<void> {
  const { status, body } = await server.admin.request(method, path);
  if (status >= 300) throw new Error(`${path}: ${JSON.stringify(body)}`);
}

async function newApp(): Promise<TestClient> {
  const client = await server.admin.createClient(CC_AND_CODE);
  for (const identifier of [JWT, OPAQUE, FLASH, FLASH_OPAQUE]) {
    await server.admin.allow(client.clientId, identifier, ['read', 'write']);
  }
  return client;
}

/** Tokens of every kind for one client. */
async function collect(prefix: string, client: TestClient, user = ALICE): Promise<void> {
  for (const [format, resource] of [
    ['JWT', JWT],
    ['opaque', OPAQUE],
  ] as const) {
    const ofUser = await obtainTokens(server, client, { scope: 'openid read write', resource }, { user });
    tokens.set(`${prefix}${format} of a user`, ofUser.accessToken);
    tokens.set(`${prefix}refresh token (${format})`, ofUser.refreshToken);
    tokens.set(`${prefix}ID token (${format})`, ofUser.idToken);
    tokens.set(`${prefix}${format} of a client`, await clientToken(server, client, { resource }));
  }
}

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  const bobId = await admin.createUser(BOB.username, BOB.password);
  [api, stranger] = [await admin.createClient(), await admin.createClient()];
  open = await admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  const members = { scopes: ['read', 'write'], introspection_client_id: api.clientId };
  await admin.createApi(JWT, members);
  await admin.createApi(OPAQUE, { ...members, access_token_format: 'opaque' });
  await admin.createApi(FLASH, { ...members, access_token_ttl_seconds: 1 });
  await admin.createApi(FLASH_OPAQUE, { ...members, access_token_ttl_seconds: 1, access_token_format: 'opaque' });
  app = await newApp();
  await collect('', app);
  for (const resource of [FLASH, FLASH_OPAQUE])
    tokens.set(`expired ${resource}`, await clientToken(server, app, { resource }));

  const [narrowed, cut, disabled, revoked, ungranted] = await Promise.all(Array.from({ length: 5 }, newApp));
  const all = { narrowed, cut, disabled, revoked, ungranted } as Record<string, TestClient>;
  for (const [name, client] of Object.entries(all)) await collect(`${name}: `, client);
  await collect('of bob: ', await newApp(), BOB);
  await collect('consumed: ', app);
  // A client with a secret keeps its refresh token; one that was consumed for another reason is as void.
  const spent = artifactId('RefreshToken', token('consumed: refresh token (JWT)'));
  await server.sql.query(`UPDATE oidc_artifacts SET consumed_at = now() WHERE id = $1`, [spent]);
  await collect('given back: ', app);
  for (const [name, value] of tokens)
    if (name.startsWith('given back') && !name.includes('ID')) await revoke(server.issuer, app, value);

  for (const identifier of [JWT, OPAQUE]) {
    await admin.allow(all.narrowed?.clientId ?? '', identifier, ['read']);
    await post(`/resource-servers/${encodeURIComponent(identifier)}/clients/${all.cut?.clientId}`, 'DELETE');
  }
  await post(`/clients/${all.disabled?.clientId}/disable`);
  await post(`/clients/${all.revoked?.clientId}/revoke-tokens`);
  await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Grant' AND client_id = $1`, [
    all.ungranted?.clientId,
  ]);
  await post(`/users/${bobId}/disable`);
  await untilSecond(Math.floor(Date.now() / 1000) + 2); // those with a second to live have expired
});
afterAll(() => server.stop());

const ask = (sent: Sent) => sameBothWays(server, '/oauth2/introspect', sent);
const about = (value: string, caller = app as TestClient) => plain(caller, { token: value });

test('every token, in every state, asked for by every kind of caller, has the same answer on both transports', async () => {
  const seen = { active: 0, inactive: 0 };
  for (const [name, value] of tokens) {
    for (const caller of [app, api, stranger, open] as TestClient[]) {
      const isPublic = caller === open;
      const sent = isPublic ? { body: `token=${value}&client_id=${caller.clientId}` } : about(value, caller);
      const { status, body, isFast } = await ask(sent);
      expect([name, isFast]).toEqual([name, true]);
      if (!isPublic) expect([name, status]).toEqual([name, 200]);
      if (status === 200) seen[body.active === true ? 'active' : 'inactive']++;
    }
  }
  // What a comparison of nothing but refusals would miss.
  expect(seen.active).toBeGreaterThan(20);
  expect(seen.inactive).toBeGreaterThan(60);
});

test.each([
  ['disabled: JWT of a user', INACTIVE],
  ['disabled: opaque of a client', INACTIVE],
  ['cut: JWT of a client', INACTIVE],
  ['cut: opaque of a user', INACTIVE],
  ['revoked: JWT of a client', INACTIVE],
  ['ungranted: JWT of a user', INACTIVE],
  ['ungranted: opaque of a user', INACTIVE],
  ['of bob: JWT of a user', INACTIVE],
  ['of bob: opaque of a user', INACTIVE],
  ['given back: JWT of a client', INACTIVE],
  ['given back: opaque of a user', INACTIVE],
  [`expired ${FLASH}`, INACTIVE],
  [`expired ${FLASH_OPAQUE}`, INACTIVE],
  ['narrowed: JWT of a user', { active: true, scope: 'openid read' }],
  ['narrowed: opaque of a client', { active: true, scope: 'read' }],
  ['JWT of a user', { active: true, username: ALICE.username, scope: 'openid read write' }],
])('the resource server learns of "%s" what it should: %j', async (name, expected) => {
  expect((await ask(about(token(name), api))).body).toMatchObject(expected);
});

test('a refresh token is active for its client alone, and only until it was consumed', async () => {
  expect((await ask(about(token('consumed: refresh token (JWT)')))).body).toEqual(INACTIVE);
  expect((await ask(about(token('refresh token (JWT)')))).body).toMatchObject({
    active: true,
    token_type: 'refresh_token',
  });
  expect((await ask(about(token('refresh token (JWT)'), api))).body).toEqual(INACTIVE);
});

describe('what is no token of ours', () => {
  const foreign = generateKeyPair('ES256');
  test.each<[string, () => string | Promise<string>]>([
    ['garbage', () => 'nonsense'],
    ['the right mark and nothing behind it', () => 'lya_'],
    ['the right mark before something unknown', () => `lyc_${'A'.repeat(43)}`],
    ['an unknown prefix', () => `lyx_${token('opaque of a client').slice(4)}`],
    ['the mark of another model before a real token', () => `lya_${token('opaque of a client').slice(4)}`],
    ['the mark of a refresh token before a real token', () => `lyr_${token('opaque of a user').slice(4)}`],
    ['a real token without its mark', () => token('opaque of a client').slice(4)],
    ['a mark in capitals', () => `LYC_${token('opaque of a client').slice(4)}`],
    ['our own prefix before a JWT', () => `jwt:${token('JWT of a client')}`],
    ['our own prefix before an opaque token', () => `jwt:${token('opaque of a client')}`],
    ['a mark before a JWT', () => `lya_${token('JWT of a client')}`],
    ['a JWT with something behind it', () => `${token('JWT of a client')}x`],
    ['a JWT with a fourth part', () => `${token('JWT of a client')}.x`],
    ['a Bearer token', () => `Bearer ${token('JWT of a client')}`],
    ['a JWT of nothing', () => 'e30.e30.e30'],
    ['two dots', () => '..'],
    ['alg none', () => new UnsecuredJWT(decodeJwt(token('JWT of a client'))).encode()],
    ['a JWT of another issuer', async () => forged({ iss: 'https://other.example' })],
    ['a JWT under a foreign key', async () => forged({})],
    ['other claims under our signature', () => swapped({ client_id: 'other', azp: 'other' })],
    ['an ID token', () => token('ID token (JWT)')],
    ['an authorization code', async () => (await obtainCode(server, app as TestClient)).code],
    ['NUL', () => 'lya_a\0b'],
    ['letters of other alphabets', () => 'lya_ñandú ✓'],
    ['something long', () => `lya_${'x'.repeat(7_000)}`],
    ['something longer', () => `lya_${'x'.repeat(40_000)}`],
  ])('%s', async (_name, value) => {
    const { status, body } = await ask(about(await value()));
    expect([status, body]).toEqual([200, INACTIVE]);
  });

  async function forged(claims: object): Promise<string> {
    const { privateKey } = await foreign;
    const header = decodeProtectedHeader(token('JWT of a client')) as { alg: string };
    return new SignJWT({ ...decodeJwt(token('JWT of a client')), ...claims })
      .setProtectedHeader(header)
      .sign(privateKey);
  }

  function swapped(claims: object): string {
    const [head, , signature] = token('JWT of a client').split('.');
    const payload = JSON.stringify({ ...decodeJwt(token('JWT of a client')), ...claims });
    return `${head}.${Buffer.from(payload).toString('base64url')}.${signature}`;
  }
});

describe('requests', () => {
  const caller = () => app as TestClient;
  const real = () => token('opaque of a client');
  test.each<[string, () => Sent]>([
    ['the right hint', () => plain(caller(), { token: real(), token_type_hint: 'access_token' })],
    ['a wrong hint', () => plain(caller(), { token: real(), token_type_hint: 'refresh_token' })],
    [
      'a wrong hint for a JWT',
      () => plain(caller(), { token: token('JWT of a user'), token_type_hint: 'refresh_token' }),
    ],
    ['a hint of nonsense', () => plain(caller(), { token: real(), token_type_hint: 'nonsense' })],
    ['an empty hint', () => plain(caller(), { token: real(), token_type_hint: '' })],
    ['two hints', () => ({ ...plain(caller(), {}), body: `token=${real()}&token_type_hint=a&token_type_hint=b` })],
    ['no token', () => plain(caller(), { token_type_hint: 'access_token' })],
    ['an empty token', () => plain(caller(), { token: '' })],
    ['the token twice', () => ({ ...plain(caller(), {}), body: `token=${real()}&token=${real()}` })],
    ['two tokens', () => ({ ...plain(caller(), {}), body: `token=${real()}&token=other` })],
    ['an unknown parameter', () => plain(caller(), { token: real(), nonsense: 'x' })],
    ['an Accept for pages', () => plain(caller(), { token: real() }, { accept: 'text/html' })],
    ['credentials in the body', () => inBody(caller().clientSecret)],
    ['a wrong secret', () => inBody('wrong')],
    ['a wrong secret in the header', () => ({ ...about(real()), headers: basic(caller().clientId, 'wrong') })],
    ['no caller', () => ({ body: `token=${real()}` })],
    [
      'a token of the caller as a bearer token',
      () => ({ headers: { authorization: `Bearer ${real()}` }, body: `token=${real()}` }),
    ],
    ['a chunked body', () => ({ ...about(real()), isChunked: true })],
    [
      'JSON',
      () => ({ headers: { ...about(real()).headers, 'content-type': 'application/json' }, body: '{"token":"x"}' }),
    ],
    ['GET', () => ({ ...about(real()), method: 'GET' })],
    ['an Origin', () => plain(caller(), { token: real() }, { origin: 'https://evil.example' })],
    [
      'a token that is written with escapes',
      () => ({ ...plain(caller(), {}), body: `token=${real().replace('_', '%5f')}` }),
    ],
  ])('%s', async (_name, sent) => {
    expect((await ask(sent())).events).toEqual([]);
  });

  const inBody = (secret: string): Sent => {
    return {
      body: new URLSearchParams({ token: real(), client_id: caller().clientId, client_secret: secret }).toString(),
    };
  };
});
