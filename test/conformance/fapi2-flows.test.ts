// What failed in the plans `fapi2-security-profile-final-test-plan` (29 of 50 modules) and
// `fapi2-security-profile-final-client-credentials-grant-test-plan` of the OpenID Foundation's suite: requests for scopes of an API that
// name no `resource`. With `openid=plain_oauth` and `openid=openid_connect`; tokens are bound by DPoP.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, introspect, type TestClient, toAnswer } from '../support/admin.ts';
import { ALICE, CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const API = 'https://accounts.example';

let server: TestServer;
let signer: Signer;
let app: TestClient;
let other: TestClient;
let api: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner('PS256');
  api = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['accounts'], introspection_client_id: api.clientId });
  [app, other] = [await register(), await register()];
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

async function register(): Promise<TestClient> {
  const client = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
    security_profile: 'fapi2',
    jwks: { keys: [signer.publicJwk] },
  });
  await server.admin.allow(client.clientId, API, ['accounts']);
  return client;
}

type Form = Record<string, string>;

async function send(path: string, client: TestClient, form: Form, headers: Form = {}): Promise<Answer> {
  const body = new URLSearchParams({ ...form, ...(await assertion(server.issuer, client.clientId, signer)) });
  return toAnswer(await fetch(`${server.issuer}${path}`, { method: 'POST', headers, body }));
}

async function askForToken(form: Form, client = app): Promise<Answer> {
  const dpop = await dpopProof(signer, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  return send('/oauth2/token', client, form, { dpop });
}

/** Pushes, signs in, allows. @returns the form of the token request */
async function codeForm(params: Form): Promise<Form> {
  const { verifier, challenge } = pkcePair();
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
  const all = { response_type: 'code', redirect_uri: REDIRECT_URI, ...pkce, ...params };
  const { status, body } = await send('/oauth2/par', app, { client_id: app.clientId, ...all });
  expect([status, body.error_description]).toEqual([201, undefined]);
  const query = new URLSearchParams({ client_id: app.clientId, request_uri: String(body.request_uri) });
  const url = `${server.issuer}/oauth2/authorize?${query}`;
  const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
  expect(Object.fromEntries(back.searchParams)).toMatchObject({ iss: server.issuer, code: expect.any(String) });
  const code = String(back.searchParams.get('code'));
  return { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
}

/** The API would take it. */
async function expectForApi({ status, body }: Answer, scope: string): Promise<void> {
  expect([status, body.token_type]).toEqual([200, 'DPoP']);
  const described = (await introspect(server.issuer, api, String(body.access_token))).body;
  expect(described).toMatchObject({ active: true, aud: API, cnf: { jkt: signer.thumbprint } });
  expect(String(described.scope).split(' ').sort()).toEqual(scope.split(' ').sort());
}

const name = 'fapi2-security-profile-final';
const STATE = { state: 'a state' };
const NONCE = { nonce: 'a nonce' };

describe.each([
  ['plain_oauth', 'accounts', STATE],
  ['openid_connect', 'openid accounts', { ...STATE, ...NONCE }],
] as const)('openid=%s', (variant, scope, more: Form) => {
  test(`${name}-happy-flow`, async () => {
    const answer = await askForToken(await codeForm({ scope, ...more }));
    await expectForApi(answer, scope);
    expect(answer.body.id_token === undefined).toBe(variant === 'plain_oauth');
  });

  test(`${name}-ensure-authorization-request-without-state-success`, async () => {
    const { state: _state, ...withoutState } = more;
    await expectForApi(await askForToken(await codeForm({ scope, ...withoutState })), scope);
  });

  test(`${name}-refresh-token`, async () => {
    const form = await codeForm({ scope: `${scope} offline_access`, prompt: 'consent', ...more });
    const { status, body } = await askForToken(form);
    expect(status).toBe(200);
    const refreshed = await askForToken({ grant_type: 'refresh_token', refresh_token: String(body.refresh_token) });
    expect([refreshed.status, refreshed.body.error]).toEqual([200, undefined]);
    expect((await introspect(server.issuer, api, String(refreshed.body.access_token))).body).toMatchObject({
      aud: API,
    });
  });

  test(`${name}-ensure-authorization-code-is-bound-to-client`, async () => {
    const form = await codeForm({ scope, ...more });
    const stolen = await askForToken(form, other);
    expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant']);
  });

  test(`${name}-attempt-reuse-authorization-code-after-one-second`, async () => {
    const form = await codeForm({ scope, ...more });
    await expectForApi(await askForToken(form), scope);
    const again = await askForToken(form);
    expect([again.status, again.body.error]).toEqual([400, 'invalid_grant']);
  });
});

test(`${name}-ensure-other-scope-order-succeeds`, async () => {
  await expectForApi(
    await askForToken(await codeForm({ scope: 'accounts openid', ...STATE, ...NONCE })),
    'openid accounts',
  );
});

test(`${name}-ensure-authorization-request-without-nonce-success`, async () => {
  await expectForApi(await askForToken(await codeForm({ scope: 'openid accounts', ...STATE })), 'openid accounts');
});

test(`${name}-client-credentials-grant-test-plan: ${name}-happy-flow`, async () => {
  await expectForApi(await askForToken({ grant_type: 'client_credentials', scope: 'accounts' }), 'accounts');
});
