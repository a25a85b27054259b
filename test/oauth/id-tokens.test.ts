// ID tokens: which claims they carry, and that none passes for an access token.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { boundClientId } from '../../src/client-binding.ts';
import { createGuard } from '../../src/guard/index.ts';
import { refused } from '../guard/refused.ts';
import { introspect, postForm, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  INACTIVE,
  obtainTokens,
  PUBLIC,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://api.example';
const SCOPES = 'openid profile email address phone';
const CLAIMS = { name: 'Alice', phone_number: '+49 30 1', address: { country: 'DE' } };

let server: TestServer;
let bare: TestClient;
let full: TestClient;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_DANGER_OPEN_REGISTRATION: 'true' });
  const { admin } = server;
  await admin.createApi(API, { scopes: ['read'] });
  bare = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, DEVICE_GRANT] });
  full = await admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, DEVICE_GRANT],
    id_token_claims: 'scopes',
  });
  for (const { clientId } of [bare, full]) await admin.allow(clientId, API, ['read']);
  await admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com', claims: CLAIMS });
});
afterAll(() => server.stop());

/** Those of OpenID Connect Core §2, which say how the user signed in. */
const ABOUT_SIGN_IN = ['iss', 'sub', 'aud', 'azp', 'exp', 'iat', 'auth_time', 'acr', 'amr', 'nonce', 'sid'];

function aboutUser(idToken: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(decodeJwt(idToken)).filter(([name]) => !ABOUT_SIGN_IN.includes(name)));
}

async function fromUserinfo(accessToken: string): Promise<Record<string, unknown>> {
  const { sub: _, ...claims } = (await userinfo(server, accessToken)).body;
  return claims;
}

describe('id_token_claims', () => {
  test('left out: the claims of the user are at userinfo only (OpenID Connect Core §5.4)', async () => {
    const { accessToken, idToken } = await obtainTokens(server, bare, { scope: SCOPES });
    expect(aboutUser(idToken)).toEqual({});
    expect(await fromUserinfo(accessToken)).toMatchObject({ ...CLAIMS, email: 'alice@example.com' });
  });

  test.each([
    ['openid', []],
    ['openid email', ['email', 'email_verified']],
    ['openid profile', ['name', 'preferred_username', 'updated_at']],
    [SCOPES, ['address', 'email', 'email_verified', 'name', 'phone_number', 'preferred_username', 'updated_at']],
  ])('"scopes": with %s the ID token says what userinfo says, and no more', async (scope, names) => {
    const { accessToken, idToken } = await obtainTokens(server, full, { scope });
    expect(Object.keys(aboutUser(idToken)).sort()).toEqual(names);
    expect(aboutUser(idToken)).toEqual(await fromUserinfo(accessToken));
  });

  test('after a refresh too, by the scopes that are left', async () => {
    const { refreshToken } = await obtainTokens(server, full, { scope: 'openid email phone' });
    const same = toTokens(await refresh(server, full, refreshToken));
    expect(aboutUser(same.idToken)).toMatchObject({ email: 'alice@example.com', phone_number: CLAIMS.phone_number });
    const less = toTokens(await refresh(server, full, refreshToken, { scope: 'openid phone' }));
    expect(aboutUser(less.idToken)).toEqual({ phone_number: CLAIMS.phone_number });
  });

  test.each([
    ['bare', {}],
    ['full', { email: 'alice@example.com', email_verified: false }],
  ])('for a device (%s)', async (name, claims) => {
    const client = name === 'bare' ? bare : full;
    const form = { scope: 'openid email' };
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, form);
    await approveDevice(server.issuer, body.user_code as string);
    const grant = { grant_type: DEVICE_GRANT, device_code: body.device_code as string };
    expect(aboutUser(toTokens(await requestToken(server.issuer, client, grant)).idToken)).toEqual(claims);
  });

  test('an app that registers itself may ask for it: it could with the claims parameter too', async () => {
    const members = { ...CODE_FLOW, ...PUBLIC, client_name: 'An app' };
    const { status, body } = await register({ ...members, id_token_claims: 'scopes' });
    expect([status, body.id_token_claims]).toEqual([201, 'scopes']);
    const app = { clientId: body.client_id as string, clientSecret: '' };
    expect(aboutUser((await obtainTokens(server, app, { scope: 'openid email' })).idToken)).toHaveProperty('email');
    const refusal = await register({ ...members, id_token_claims: 'all' });
    expect([refusal.status, refusal.body.error_description]).toEqual([400, expect.stringContaining('id_token_claims')]);
  });

  test.each(['userinfo', 'all', '', true, ['scopes']])('%j is refused by name', async (id_token_claims) => {
    const path = `/clients/${bare.clientId}`;
    for (const [method, at] of [
      ['POST', '/clients'],
      ['PATCH', path],
    ] as const) {
      const { status, body } = await server.admin.request(method, at, { id_token_claims });
      expect([status, body.errors]).toEqual([
        400,
        [expect.objectContaining({ pointer: '/id_token_claims', detail: 'must be scopes' })],
      ]);
    }
    expect((await server.admin.request('GET', path)).body).not.toHaveProperty('id_token_claims');
  });

  test('an operator switches it on and off', async () => {
    const client = await server.admin.createClient(CODE_FLOW);
    const idToken = async () => aboutUser((await obtainTokens(server, client, { scope: 'openid email' })).idToken);
    const path = `/clients/${client.clientId}`;
    expect((await server.admin.request('PATCH', path, { id_token_claims: 'scopes' })).body.id_token_claims).toBe(
      'scopes',
    );
    expect(await idToken()).toHaveProperty('email');
    await server.admin.request('PATCH', path, { id_token_claims: null });
    expect(await idToken()).toEqual({});
  });
});

function register(members: Record<string, unknown>) {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(members) };
  return fetch(`${server.issuer}/oauth2/register`, init).then(toAnswer);
}

describe('an ID token is no access token', () => {
  // The attacker has an ID token of a user, from an app that logs them or from a browser. Taken for an
  // access token, it would let it call an API as that user.
  const ALGORITHMS = ['ES256', 'RS256'];
  const idTokens: Record<string, string> = {};
  let likeApi: TestClient;

  beforeAll(async () => {
    // Its ID tokens have the identifier of the API as their audience.
    likeApi = await server.admin.createClient({ ...CODE_FLOW, client_id: API, id_token_claims: 'scopes' });
    for (const alg of ALGORITHMS) {
      const path = `/clients/${encodeURIComponent(API)}`;
      await server.admin.request('PATCH', path, { id_token_signed_response_alg: alg });
      idTokens[alg] = (await obtainTokens(server, likeApi, { scope: SCOPES })).idToken;
    }
  });

  test.each(ALGORITHMS)('it names its client in azp only (%s)', (alg) => {
    const claims = decodeJwt<{ client_id?: unknown; azp?: unknown }>(idTokens[alg] as string);
    expect([decodeProtectedHeader(idTokens[alg] as string).alg, claims.azp, claims.aud]).toEqual([alg, API, API]);
    for (const name of ['client_id', 'scope', 'jti', 'gid']) expect(claims).not.toHaveProperty(name);
    // So that software which forgets `typ` and `aud`, and asks for the client, refuses it too.
    expect(() => boundClientId(claims)).toThrow('does not name the client');
  });

  test.each(ALGORITHMS)('the guard refuses it in both modes, although the audience is right (%s)', async (alg) => {
    const api = await server.admin.createClient();
    await server.admin.request('PATCH', `/resource-servers/${encodeURIComponent(API)}`, {
      introspection_client_id: api.clientId,
    });
    const options = { issuer: server.issuer, audience: API, clients: [API, bare.clientId] };
    const guards = [
      createGuard({ ...options, mode: 'jwt', algorithms: ALGORITHMS }),
      createGuard({ ...options, mode: 'introspection', introspection: { ...api } }),
    ];
    const { accessToken } = await obtainTokens(server, bare, { scope: 'openid read', resource: API });
    for (const guard of guards) {
      expect(await refused(guard, `Bearer ${idTokens[alg]}`)).toMatchObject({ status: 401, code: 'invalid_token' });
      expect((await guard.check(`Bearer ${accessToken}`)).clientId).toBe(bare.clientId);
    }
  });

  test.each(ALGORITHMS)('userinfo, introspection and the admin API know no such token (%s)', async (alg) => {
    const token = idTokens[alg] as string;
    expect((await userinfo(server, token)).status).toBe(401);
    const introspected = await introspect(server.issuer, likeApi, token);
    expect([introspected.status, introspected.body]).toEqual([200, INACTIVE]);
    const asAdmin = await fetch(`${server.issuer}/admin/v1/clients`, { headers: { authorization: `Bearer ${token}` } });
    expect(asAdmin.status).toBe(401);
  });
});

test('access tokens keep both names of their client', async () => {
  const client = await server.admin.createClient();
  await server.admin.allow(client.clientId, API, ['read']);
  const binding = { client_id: client.clientId, azp: client.clientId };
  expect(decodeJwt(await clientToken(server, client, { resource: API }))).toMatchObject(binding);
});
