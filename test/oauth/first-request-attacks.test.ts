// What a client could gain by parameters that this server adds to a request itself, and by lists and objects where it expects text: in
// an authorization request, a pushed one, a request object, a device request.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { postForm, type TestClient } from '../support/admin.ts';
import { EVERY_FLOW, FIRST_REQUESTS } from '../support/first-requests.ts';
import { ALICE, CODE_FLOW, loggedFailures, type Params, refresh } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BILLING = 'https://billing.example';

let server: TestServer;
let signer: Signer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner();
  await server.admin.createUser(ALICE.username, ALICE.password);
  await server.admin.createApi(ORDERS, { scopes: ['read', 'write'] });
  await server.admin.createApi(BILLING, { scopes: ['pay'], access_token_signing_alg: 'RS256' });
  app = await server.admin.createClient({ ...EVERY_FLOW, jwks: { keys: [signer.publicJwk] } });
  await server.admin.allow(app.clientId, ORDERS, ['read', 'write']);
});
afterAll(() => server.stop());

// Otherwise a client could have every scope it likes accepted later, although no user was asked for it.
test.each(Object.entries(FIRST_REQUESTS))('%s cannot say which scopes were dropped from it', async (name, begin) => {
  const params = { scope: 'openid read offline_access', resource: ORDERS, lanyard_dropped_scope: 'write invented' };
  const first = await begin(server, app, params, signer);
  if (name.endsWith('object')) {
    const description = expect.stringContaining('/lanyard_dropped_scope is not for clients to send');
    expect(first).toEqual({ error: 'invalid_request_object', description });
    return;
  }
  if (!('finish' in first)) throw new Error(first.description);
  const tokens = await first.finish();
  expect(tokens).toMatchObject({ refresh_token: expect.any(String) });
  for (const scope of ['read invented', 'read write']) {
    const { status, body } = await refresh(server, app, String(tokens.refresh_token), { scope });
    expect([scope, status, body.error]).toEqual([scope, 400, 'invalid_scope']);
  }
});

/** Not typed. */
const ENGINE_LIST: string = 'oidc-provider/lib/consts/param_list.js';
/** All that the engine reads of a request object, with what our configuration adds. */
const MEMBERS: readonly string[] = [
  ...(await import(ENGINE_LIST)).default,
  ...['claims', 'resource', 'audience', 'authorization_details', 'dpop_jkt', 'lanyard_dropped_scope'],
];
/** The first two cannot become text. */
const ODD: readonly unknown[] = [
  { toString: 1 },
  { valueOf: 1, toString: {} },
  [{ toString: 1 }],
  [[['x']]],
  [],
  ['a', 'b'],
  [null],
  null,
  0,
];

// Before its signature is looked at: anybody can send it.
test.each(MEMBERS)('a request object whose %s is not text is no failure of this server', async (member) => {
  const from = server.logLines.length;
  const stranger = await newSigner();
  const [redirect_uri] = EVERY_FLOW.redirect_uris;
  for (const [key, value] of [signer, stranger].flatMap((each) => ODD.map((value) => [each, value] as const))) {
    const params = { response_type: 'code', redirect_uri, scope: 'openid read', [member]: value };
    const request = await requestObject(server.issuer, app.clientId, key, params);
    const query = new URLSearchParams({ client_id: app.clientId, request });
    const answers = await Promise.all([
      fetch(`${server.issuer}/oauth2/authorize?${query}`, { redirect: 'manual' }),
      postForm(`${server.issuer}/oauth2/par`, app, { request }),
      postForm(`${server.issuer}/oauth2/device_authorization`, app, { request }),
    ]);
    expect([value, answers.map(({ status }) => status < 500)]).toEqual([value, [true, true, true]]);
  }
  expect(loggedFailures(server, from)).toEqual([]);
});

// The engine asks for no default then, and checks no API: the user would be asked for details of no API, and audience would say nothing.
test.each(['a request object', 'a pushed request object'])('%s cannot name no API by an empty list', async (name) => {
  for (const parameters of [{}, { audience: ORDERS }]) {
    const params = { scope: 'openid read', resource: [], ...parameters } as unknown as Params;
    const first = await FIRST_REQUESTS[name]?.(server, app, params, signer);
    const description = expect.stringContaining('/resource is not of the type');
    expect(first).toEqual({ error: 'invalid_request_object', description });
  }
});

// FAPI 2.0 Security Profile §5.4.1 excludes RS256.
describe('a client with a security profile gets no token of an API below it', () => {
  const token = '/oauth2/token';
  let keys: Signer;
  let dpopKey: Signer;

  async function register(members: Record<string, unknown>, identifier: string): Promise<TestClient> {
    const client = await server.admin.createClient({
      ...{ security_profile: 'fapi2', token_endpoint_auth_method: 'private_key_jwt' },
      ...{ jwks: { keys: [keys.publicJwk] }, ...members },
    });
    await server.admin.allow(client.clientId, identifier, ['pay']);
    return client;
  }

  async function post(client: TestClient, path: string, form: Record<string, string>) {
    const dpop = await dpopProof(dpopKey, { htm: 'POST', htu: server.issuer + path });
    const own = await assertion(server.issuer, client.clientId, keys);
    return postForm(server.issuer + path, { ...client, clientSecret: '' }, { ...form, ...own }, { dpop });
  }

  const REFUSED = [400, expect.objectContaining({ error: 'invalid_target' })];

  beforeAll(async () => {
    keys = await newSigner('PS256');
    dpopKey = await newSigner();
  });

  test.each<Record<string, string>>([{}, { scope: 'pay' }, { resource: BILLING }, { audience: BILLING }])(
    'of its own, with %j',
    async (form) => {
      const client = await register({ grant_types: ['client_credentials'] }, BILLING);
      const { status, body } = await post(client, token, { grant_type: 'client_credentials', ...form });
      expect([status, body]).toEqual(REFUSED);
    },
  );

  test('of a user, although the API was not below it when the user signed in', async () => {
    const identifier = 'https://changing.example';
    await server.admin.createApi(identifier, { scopes: ['pay'] });
    const client = await register(CODE_FLOW, identifier);
    const { verifier, challenge } = pkcePair();
    const [redirect_uri = ''] = CODE_FLOW.redirect_uris;
    const push = () =>
      post(client, '/oauth2/par', {
        ...{ response_type: 'code', scope: 'openid pay', redirect_uri, code_challenge: challenge },
        code_challenge_method: 'S256',
      });
    const redeem = async () => {
      const query = new URLSearchParams({
        client_id: client.clientId,
        request_uri: String((await push()).body.request_uri),
      });
      const back = await signInAndAllow(
        createUserAgent(server.issuer),
        `${server.issuer}/oauth2/authorize?${query}`,
        ALICE,
      );
      const code = back.searchParams.get('code') ?? '';
      return () =>
        post(client, token, { grant_type: 'authorization_code', code, redirect_uri, code_verifier: verifier });
    };
    const { status, body: tokens } = await (await redeem())();
    expect(status).toBe(200);
    const later = await redeem();
    const change = { access_token_signing_alg: 'RS256' };
    await server.admin.request('PATCH', `/resource-servers/${encodeURIComponent(identifier)}`, change);
    const refresh_token = String(tokens.refresh_token);
    for (const answer of [
      await push(),
      await later(),
      await post(client, token, { grant_type: 'refresh_token', refresh_token }),
    ]) {
      expect([answer.status, answer.body]).toEqual(REFUSED);
    }
  });
});
