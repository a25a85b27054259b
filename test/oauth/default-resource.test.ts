// Requests that name no API: the one that is meant is decided at the first request of each flow,
// before anybody signs in, and stored.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { introspect, postForm, requestToken, type TestClient } from '../support/admin.ts';
import { DEVICE_GRANT, typeUserCode } from '../support/device.ts';
import { EVERY_FLOW, FIRST_REQUESTS, type FirstRequest } from '../support/first-requests.ts';
import { ALICE, authorizationUrl, CODE_FLOW, type Params, PUBLIC, refresh, userinfo } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BILLING = 'https://billing.example/v1';
const ARCHIVE = 'https://archive.example';

let server: TestServer;
let signer: Signer;
let admin: string;
const clients = new Map<string, TestClient>();
const of = (name: string) => clients.get(name) as TestClient;

type Rows = Readonly<Record<string, readonly string[]>>;

async function add(rows: Rows, members: Record<string, unknown> = {}): Promise<TestClient> {
  const client = await server.admin.createClient({ ...EVERY_FLOW, jwks: { keys: [signer.publicJwk] }, ...members });
  for (const [identifier, scopes] of Object.entries(rows))
    await server.admin.allow(client.clientId, identifier, scopes);
  return client;
}

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner();
  admin = `${server.issuer}/admin`;
  await server.admin.createUser(ALICE.username, ALICE.password);
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['read', 'write', 'shared'] });
  await server.admin.createApi(BILLING, { name: 'Billing', scopes: ['pay', 'shared'] });
  await server.admin.createApi(ARCHIVE, { name: 'Archive', scopes: ['dig'] });
  clients.set('one API', await add({ [ORDERS]: ['read', 'write'] }));
  clients.set('two APIs', await add({ [ORDERS]: ['read', 'shared'], [BILLING]: ['pay', 'shared'] }));
  clients.set('no API', await add({}));
  clients.set('the admin API', await add({ [admin]: ['admin:read'] }));
  clients.set('the admin API and another', await add({ [admin]: ['admin:read'], [ORDERS]: ['read'] }));
  clients.set('an API without scopes', await add({ [ORDERS]: [] }));
});
afterAll(() => server.stop());

/** What the token is for: audience and scopes, as introspection has them. */
async function target(client: TestClient, answer: Record<string, unknown>): Promise<unknown> {
  const { body } = await introspect(server.issuer, client, String(answer.access_token));
  if (body.active !== true) return answer;
  const scopes = String(body.scope)
    .split(' ')
    .filter((name) => !['openid', 'offline_access'].includes(name));
  return [body.aud, scopes.sort().join(' ')];
}

async function refusalOf(begin: FirstRequest, client: TestClient, params: Params) {
  const first = await begin(server, client, params, signer);
  if ('finish' in first) throw new Error(`not refused: ${JSON.stringify(await first.finish())}`);
  return first;
}

async function finished(begin: FirstRequest, client: TestClient, params: Params) {
  const first = await begin(server, client, params, signer);
  if (!('finish' in first)) throw new Error(first.description);
  return first.finish();
}

const flows = Object.entries(FIRST_REQUESTS);

describe.each(flows)('%s without resource', (_flow, begin) => {
  test.each<[string, string | undefined, string, string]>([
    ['one API', 'read', ORDERS, 'read'],
    ['one API', 'openid read', ORDERS, 'read'],
    ['one API', 'openid write read', ORDERS, 'read write'],
    ['one API', undefined, ORDERS, 'read write'],
    ['two APIs', 'pay', BILLING, 'pay'],
    ['two APIs', 'openid shared read', ORDERS, 'read shared'],
    ['the admin API and another', undefined, ORDERS, 'read'],
  ])('of a client with %s, scope %s: for %s with %s', async (name, scope, aud, scopes) => {
    expect(await target(of(name), await finished(begin, of(name), { scope }))).toEqual([aud, scopes]);
  });

  test('the admin API, when its scopes are named', async () => {
    const client = of('the admin API');
    expect(await target(client, await finished(begin, client, { scope: 'admin:read' }))).toEqual([admin, 'admin:read']);
  });

  test.each([
    ['one API', 'openid'],
    ['two APIs', 'openid'],
    ['no API', 'openid'],
    // OpenID Connect Core §3.1.2.1: a client that may call no API signs users in.
    ['no API', 'openid unknown'],
  ])('of a client with %s, scope %s: a sign-in, and no API', async (name, scope) => {
    const answer = await finished(begin, of(name), { scope });
    expect(await target(of(name), answer)).toEqual([undefined, '']);
    expect(answer).toMatchObject({ scope: 'openid', id_token: expect.any(String) });
    expect((await userinfo(server, String(answer.access_token))).status).toBe(200);
  });

  test.each<[string, string | undefined, string, RegExp]>([
    ['one API', 'read shared', 'invalid_scope', /^no API .* has all of these scopes: read shared; ask the operator/],
    ['one API', 'openid read unknown', 'invalid_scope', /has all of these scopes: read unknown;.* or send resource$/],
    ['one API', 'openid dig', 'invalid_scope', /ask the operator for a policy row/],
    ['two APIs', 'read pay', 'invalid_scope', /has all of these scopes: read pay;/],
    ['two APIs', 'openid shared', 'invalid_target', /^several APIs .* have these scopes: name one with resource$/],
    ['two APIs', undefined, 'invalid_target', /several APIs: name one with resource, or send scopes/],
    ['no API', 'read', 'invalid_scope', /ask the operator for a policy row/],
    ['no API', undefined, 'invalid_target', /send scope=openid .* resource, or ask the operator/],
    ['the admin API', undefined, 'invalid_target', /send scope/],
    ['an API without scopes', undefined, 'invalid_target', /send scope/],
  ])('of a client with %s, scope %s: %s before anybody signs in', async (name, scope, error, text) => {
    const refusal = await refusalOf(begin, of(name), { scope });
    expect(refusal).toEqual({ error, description: expect.stringMatching(text) });
    // Anybody can send this request: it must not tell which APIs there are.
    expect(refusal.description).not.toMatch(/example|http|Orders|Billing/);
  });

  test('the API stays when policy rows change before the user signs in, and at every refresh', async () => {
    const client = await add({ [ORDERS]: ['shared'] });
    const first = await begin(server, client, { scope: 'openid shared offline_access', prompt: 'consent' }, signer);
    await server.admin.allow(client.clientId, BILLING, ['shared']);
    if (!('finish' in first)) throw new Error(first.description);
    const answer = await first.finish();
    expect(await target(client, answer)).toEqual([ORDERS, 'shared']);
    const refreshed = await refresh(server, client, String(answer.refresh_token));
    expect(await target(client, refreshed.body)).toEqual([ORDERS, 'shared']);
  });

  test('its scopes stay too: a row that has grown gives no more than the user was shown', async () => {
    const client = await add({ [ORDERS]: ['read'] });
    const first = await begin(server, client, {}, signer);
    await server.admin.allow(client.clientId, ORDERS, ['read', 'write']);
    if (!('finish' in first)) throw new Error(first.description);
    expect(await target(client, await first.finish())).toEqual([ORDERS, 'read']);
  });

  test('without its row there is no token, and none for another API in its place', async () => {
    const client = await add({ [ORDERS]: ['shared'] });
    const first = await begin(server, client, { scope: 'shared' }, signer);
    if (!('finish' in first)) throw new Error(first.description);
    await server.admin.allow(client.clientId, BILLING, ['shared']);
    await server.admin.request('DELETE', `/resource-servers/${encodeURIComponent(ORDERS)}/clients/${client.clientId}`);
    const answer = await first.finish();
    expect(answer).toMatchObject({ error: 'invalid_target' });
    expect(answer).not.toHaveProperty('access_token');
  });
});

describe('of a client itself', () => {
  const own = async (name: string, form: Params) => {
    const { status, body } = await requestToken(server.issuer, of(name), form as Record<string, string>);
    return status === 200 ? target(of(name), body) : body;
  };

  test.each<[string, Params, string, string]>([
    ['one API', {}, ORDERS, 'read write'],
    ['one API', { scope: 'write' }, ORDERS, 'write'],
    ['two APIs', { scope: 'pay' }, BILLING, 'pay'],
    ['two APIs', { scope: 'read shared' }, ORDERS, 'read shared'],
    ['two APIs', { scope: 'openid pay' }, BILLING, 'pay'],
  ])('with %s, %j: for %s with %s', async (name, form, aud, scopes) => {
    expect(await own(name, form)).toEqual([aud, scopes]);
  });

  test('the admin API with all scopes of its row', async () => {
    expect(await own('the admin API', {})).toEqual([admin, 'admin:read']);
  });

  test('lanyard-admin means the admin API, also when it may call others; it gets those by their scopes', async () => {
    const client = { clientId: 'lanyard-admin', clientSecret: 'an admin secret for the tests' };
    await server.admin.allow(client.clientId, ORDERS, ['read']);
    const aud = async (form: Record<string, string>) => {
      const { body } = await requestToken(server.issuer, client, form);
      return ((await target(client, body)) as unknown[])[0];
    };
    expect([await aud({}), await aud({ scope: 'admin:read' })]).toEqual([admin, admin]);
    expect(await aud({ scope: 'read' })).toBe(ORDERS);
  });

  test.each<[string, Params, string, RegExp]>([
    ['one API', { scope: 'read shared' }, 'invalid_scope', /^no API .* has all of these scopes: read shared; ask/],
    ['two APIs', { scope: 'read pay' }, 'invalid_scope', /has all of these scopes: read pay; ask the operator/],
    ['two APIs', { scope: 'shared' }, 'invalid_target', /name one with resource/],
    ['two APIs', {}, 'invalid_target', /name one with resource, or send scopes/],
    ['no API', {}, 'invalid_target', /ask the operator for a policy row/],
    ['no API', { scope: 'read' }, 'invalid_scope', /ask the operator for a policy row/],
  ])('with %s, %j: %s', async (name, form, error, text) => {
    expect(await own(name, form)).toMatchObject({ error, error_description: expect.stringMatching(text) });
  });
});

// What is stored for a request object is made anew when the API is decided: a stranger could store as much as fits into a request.
test('a public client can push no larger request object without resource than with it', async () => {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC, jwks: { keys: [signer.publicJwk] } });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  for (const resource of [{}, { resource: ORDERS }]) {
    const begin = FIRST_REQUESTS['a pushed request object'] as FirstRequest;
    const refusal = await refusalOf(begin, client, { scope: 'read', state: 'x'.repeat(4_096), ...resource });
    expect(refusal).toEqual({ error: 'invalid_request', description: expect.stringContaining('4096 bytes') });
  }
});

test('the log names the APIs among which the client has to choose', async () => {
  const from = server.logLines.length;
  await requestToken(server.issuer, of('two APIs'));
  const line = server.logLines.slice(from).find((each) => each.includes('"refused"'));
  expect(JSON.parse(line ?? '{}').reason).toMatch(`(${BILLING} ${ORDERS})`);
});

test('the log names the scopes that were ignored because there is no policy row', async () => {
  const from = server.logLines.length;
  await finished(FIRST_REQUESTS['an authorization request'] as FirstRequest, of('no API'), { scope: 'openid dig' });
  const line = server.logLines.slice(from).find((each) => each.includes('scopes ignored'));
  expect(JSON.parse(line ?? '{}')).toMatchObject({ client_id: of('no API').clientId, scopes: ['dig'] });
});

describe.each(flows)('%s that names an API', (_flow, begin) => {
  test('and no scopes is for all that the client may have there', async () => {
    const client = await add({ [ORDERS]: ['read', 'write'], [BILLING]: ['pay'] });
    const first = await begin(server, client, { resource: ORDERS }, signer);
    if (!('finish' in first)) throw new Error(first.description);
    expect(await target(client, await first.finish())).toEqual([ORDERS, 'read write']);
  });

  test('and none of the scopes that the client may have there: invalid_scope before anybody signs in', async () => {
    const refusal = await refusalOf(begin, of('one API'), { scope: 'pay unknown', resource: ORDERS });
    expect(refusal).toEqual({ error: 'invalid_scope', description: expect.stringMatching(/ask the operator/) });
  });

  test('the admin API is not asked for without its scopes, by whatever name', async () => {
    for (const parameter of [{ resource: admin }, { audience: admin }, { resource: admin.toUpperCase() }]) {
      const refusal = await refusalOf(begin, of('the admin API and another'), parameter);
      expect(['invalid_scope', 'invalid_target']).toContain(refusal.error);
    }
  });
});

test('a request without scope: the pages name the API and every scope that the app will have', async () => {
  const members = { ...PUBLIC, grant_types: ['authorization_code', DEVICE_GRANT] };
  const client = await add({ [ORDERS]: ['read', 'write'] }, members);
  const everything = /Orders[\s\S]*<code>read<\/code>[\s\S]*<code>write<\/code>/;
  const agent = createUserAgent(server.issuer);
  const pkce = { code_challenge: pkcePair().challenge, code_challenge_method: 'S256' };
  const params = { client_id: client.clientId, scope: undefined, ...pkce };
  const login = await agent.visit(authorizationUrl(server.issuer, params));
  const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
  expect(consent.html).toContain('id="consent-page"');
  expect(consent.html).toMatch(everything);

  const device = await postForm(`${server.issuer}/oauth2/device_authorization`, client, {});
  const page = await typeUserCode(server.issuer, createUserAgent(server.issuer), String(device.body.user_code));
  expect(page.html).toContain('id="device-confirm"');
  expect(page.html).toMatch(everything);
});
