// A signed answer says what the plain one says: a caller that asks for a signature learns neither more nor less about a token or a
// user (RFC 9701 §5, OpenID Connect Core §5.3.2).

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { postForm, revoke, type TestClient, toAnswer } from '../support/admin.ts';
import { basic } from '../support/both-ways.ts';
import { ACCESS_TOKEN, EXCHANGE } from '../support/exchange-chain.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  exchange,
  obtainCode,
  obtainTokens,
  type Params,
  refresh,
  toTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';
const NEXT_API = 'https://next.example';
const PAYMENT = JSON.stringify([{ type: 'payment' }]);

let server: TestServer;
let app: TestClient;
let api: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  api = await admin.createClient({ grant_types: ['client_credentials', EXCHANGE] });
  app = await admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
    authorization_details_types: ['payment'],
    // With the key of access tokens.
    id_token_signed_response_alg: 'ES256',
  });
  const members = {
    scopes: ['read', 'write'],
    introspection_client_id: api.clientId,
    authorization_details_types: { payment: { description: 'Pay', schema: {} } },
  };
  await admin.createApi(JWT_API, members);
  await admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  await admin.createApi(NEXT_API, { ...members, delegation: { max_depth: 2, allowed_clients: null } });
  for (const identifier of [JWT_API, OPAQUE_API]) await admin.allow(app.clientId, identifier, ['read', 'write']);
  const path = `/resource-servers/${encodeURIComponent(NEXT_API)}/clients/${api.clientId}`;
  await admin.request('PUT', path, { scopes: ['read'], token_exchange: true });
  await admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com', claims: { name: 'Alice' } });
});
afterAll(() => server.stop());

const ofUser = async (params: Params) =>
  (await obtainTokens(server, app, { scope: 'openid read', ...params })).accessToken;

async function boundToKey(): Promise<string> {
  const issued = await obtainCode(server, app, { scope: 'openid read', resource: OPAQUE_API });
  const dpop = await dpopProof(await newSigner(), { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  return toTokens(await exchange(server, app, issued, {}, { dpop })).accessToken;
}

async function exchanged(): Promise<string> {
  const form = { grant_type: EXCHANGE, subject_token_type: ACCESS_TOKEN, resource: NEXT_API };
  const subject_token = await ofUser({ resource: JWT_API });
  const { body } = await postForm(`${server.issuer}/oauth2/token`, api, { ...form, subject_token });
  return String(body.access_token);
}

async function revoked(): Promise<string> {
  const token = await clientToken(server, app, { resource: OPAQUE_API });
  await revoke(server.issuer, app, token);
  return token;
}

test.each<[string, boolean, () => Promise<string>]>([
  ['a JWT of a user', true, () => ofUser({ resource: JWT_API })],
  ['an opaque token of a user', true, () => ofUser({ resource: OPAQUE_API })],
  ['a JWT of a client', true, () => clientToken(server, app, { resource: JWT_API })],
  ['an opaque token of a client', true, () => clientToken(server, app, { resource: OPAQUE_API })],
  ['a token for userinfo', true, () => ofUser({ scope: 'openid email' })],
  ['a refresh token', true, async () => (await obtainTokens(server, app)).refreshToken],
  ['a token with authorization details', true, () => ofUser({ resource: JWT_API, authorization_details: PAYMENT })],
  ['a token that is bound to a key', true, boundToKey],
  ['an exchanged token', true, exchanged],
  ['a revoked token', false, revoked],
  ['an ID token', false, async () => (await obtainTokens(server, app)).idToken],
  ['no token at all', false, async () => 'nonsense'],
])('introspection says the same signed and plain: %s', async (_name, isActive, obtain) => {
  const token = await obtain();
  const answers = [];
  for (const caller of [app, api]) {
    const plain = await introspect(caller, token, 'application/json');
    const signed = await introspect(caller, token, 'application/token-introspection+jwt');
    const { token_introspection: members, ...envelope } = decodeJwt(signed.body.text as string);
    expect(members).toEqual(plain.body);
    expect(envelope).toEqual({ iss: server.issuer, iat: expect.any(Number), aud: caller.clientId });
    answers.push(plain.body.active);
  }
  expect(answers.includes(true)).toBe(isActive);
});

function introspect({ clientId, clientSecret }: TestClient, token: string, accept: string) {
  const headers = { ...basic(clientId, clientSecret), accept };
  const body = new URLSearchParams({ token });
  return fetch(`${server.issuer}/oauth2/introspect`, { method: 'POST', headers, body }).then(toAnswer);
}

const SCOPES = 'openid profile email address phone';

test.each<[string, Record<string, unknown>, (client: TestClient) => Promise<string>]>([
  ['the subject alone', {}, async (client) => (await obtainTokens(server, client)).accessToken],
  ['all claims', {}, async (client) => (await obtainTokens(server, client, { scope: SCOPES })).accessToken],
  [
    'the claims parameter',
    {},
    async (client) => (await obtainTokens(server, client, { claims: '{"userinfo":{"email":null}}' })).accessToken,
  ],
  [
    'a pairwise subject',
    { subject_type: 'pairwise' },
    async (client) => (await obtainTokens(server, client, { scope: SCOPES })).accessToken,
  ],
  [
    'a refreshed token',
    {},
    async (client) => {
      const { refreshToken } = await obtainTokens(server, client, { scope: SCOPES });
      return toTokens(await refresh(server, client, refreshToken)).accessToken;
    },
  ],
])('userinfo says the same signed and plain: %s', async (_name, metadata, obtain) => {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...metadata });
  const headers = { authorization: `Bearer ${await obtain(client)}` };
  const read = () => fetch(`${server.issuer}/oauth2/userinfo`, { headers }).then(toAnswer);
  const plain = await read();
  expect([plain.status, plain.body.sub]).toEqual([200, expect.any(String)]);
  const change = { userinfo_signed_response_alg: 'ES256' };
  expect((await server.admin.request('PATCH', `/clients/${client.clientId}`, change)).status).toBe(200);
  const { iss, aud, exp, iat, ...members } = decodeJwt((await read()).body.text as string);
  expect([iss, aud]).toEqual([server.issuer, client.clientId]);
  expect([typeof exp, typeof iat]).toEqual(['number', 'number']);
  expect(members).toEqual(plain.body);
});
