// Headers that HTTP lets a client write in several ways, or leave out: the credentials, with any number of blanks after their scheme
// (RFC 9110 §11.4), and the type of a form (§8.3), without which nobody knows that it is one.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type TestClient, toAnswer } from '../support/admin.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, obtainTokens, REDIRECT_URI, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';

let server: TestServer;
let app: TestClient;
let secret: string;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_DANGER_OPEN_REGISTRATION: 'true' });
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT],
  });
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(app.clientId, API, ['read']);
  secret = Buffer.from(`${app.clientId}:${app.clientSecret}`).toString('base64');
});
afterAll(() => server.stop());

const forms = (): [string, Record<string, string>][] => [
  ['token', { grant_type: 'client_credentials' }],
  ['introspect', { token: 'x' }],
  ['revoke', { token: 'x' }],
  ['device_authorization', { client_id: app.clientId, scope: 'openid' }],
  ['par', authorizationRequest()],
];

function authorizationRequest(): Record<string, string> {
  const { challenge } = pkcePair();
  return {
    ...{ client_id: app.clientId, redirect_uri: REDIRECT_URI, response_type: 'code', scope: 'openid' },
    ...{ code_challenge: challenge, code_challenge_method: 'S256' },
  };
}

describe.each([1, 2, 7])('%i blanks after the scheme', (count) => {
  const blanks = ' '.repeat(count);

  test('Basic authenticates a client at every endpoint, by either transport', async () => {
    for (const [path, form] of forms()) {
      // The fast path does not know the second header.
      for (const more of [{}, { 'x-not-plain': '1' }]) {
        const headers = { authorization: `BASIC${blanks}${secret}`, ...more };
        const sent = { method: 'POST', headers, body: new URLSearchParams(form) };
        const { status } = await fetch(`${server.issuer}/oauth2/${path}`, sent);
        expect([path, status < 300]).toEqual([path, true]);
      }
    }
  });

  test('Bearer and DPoP present a token to userinfo', async () => {
    const { accessToken } = await obtainTokens(server, app);
    for (const more of [{}, { 'x-not-plain': '1' }]) {
      const headers = { authorization: `Bearer${blanks}${accessToken}`, ...more };
      expect((await fetch(`${server.issuer}/oauth2/userinfo`, { headers })).status).toBe(200);
      expect((await fetch(`${server.issuer}/oauth2/userinfo`, { method: 'POST', headers })).status).toBe(200);
    }
    const key = await newSigner();
    const code = await obtainCode(server, app);
    const atToken = await dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
    const { accessToken: bound } = toTokens(await exchange(server, app, code, {}, { dpop: atToken }));
    const ath = createHash('sha256').update(bound).digest('base64url');
    for (const more of [{}, { 'x-not-plain': '1' }]) {
      const dpop = await dpopProof(key, { htm: 'GET', htu: `${server.issuer}/oauth2/userinfo` }, { claims: { ath } });
      const headers = { authorization: `DPoP${blanks}${bound}`, dpop, ...more };
      expect((await fetch(`${server.issuer}/oauth2/userinfo`, { headers })).status).toBe(200);
    }
  });

  test('Bearer presents one to the admin API, and a registration token', async () => {
    const headers = { authorization: `bearer${blanks}${await server.admin.token()}` };
    expect((await fetch(`${server.issuer}/admin/v1/clients`, { headers })).status).toBe(200);
    const registered = await fetch(`${server.issuer}/oauth2/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: [REDIRECT_URI] }),
    });
    const { registration_client_uri: uri, registration_access_token: token } = (await registered.json()) as Record<
      string,
      string
    >;
    expect(uri).toMatch(new RegExp(`^${server.issuer}/`));
    expect((await fetch(String(uri), { headers: { authorization: `Bearer${blanks}${token}` } })).status).toBe(200);
  });
});

test('a blank inside of the credentials, or a tab after the scheme, is still refused', async () => {
  for (const authorization of [
    `Basic ${secret.slice(0, 9)}  ${secret.slice(9)}`,
    `Basic\t${secret}`,
    `Basic \t${secret}`,
  ]) {
    const body = new URLSearchParams({ grant_type: 'client_credentials' });
    const { status } = await fetch(`${server.issuer}/oauth2/token`, {
      method: 'POST',
      headers: { authorization },
      body,
    });
    expect([authorization, status]).toEqual([authorization, 400]);
  }
  const token = await server.admin.token();
  for (const authorization of [`Bearer ${token.slice(0, 9)}  ${token.slice(9)}`, `Bearer \t${token}`]) {
    const { status } = await fetch(`${server.issuer}/admin/v1/clients`, { headers: { authorization } });
    expect([authorization, status]).toEqual([authorization, 400]);
  }
});

describe('a form without Content-Type', () => {
  // `fetch` names a type for text, and none for bytes.
  const bytes = (form: Record<string, string>) => new TextEncoder().encode(new URLSearchParams(form).toString());

  test('is refused with what is wrong, at each endpoint that takes forms', async () => {
    for (const [path, form] of [...forms(), ['userinfo', { access_token: 'x' }] as const]) {
      for (const headers of [{ authorization: `Basic ${secret}` }, {}, { 'content-type': '' }]) {
        const sent = { method: 'POST', headers, body: bytes({ ...form }) };
        const { status, body } = await toAnswer(await fetch(`${server.issuer}/oauth2/${path}`, sent));
        expect([path, status, body.error, body.error_description]).toEqual([
          ...[path, 400, 'invalid_request'],
          'the body has no Content-Type: send it as application/x-www-form-urlencoded',
        ]);
      }
    }
  });

  test('of another type is told that too', async () => {
    for (const [path] of forms()) {
      const headers = { authorization: `Basic ${secret}`, 'content-type': 'application/json' };
      const answer = await fetch(`${server.issuer}/oauth2/${path}`, { method: 'POST', headers, body: '{}' });
      const { status, body } = await toAnswer(answer);
      expect([path, status, body.error]).toEqual([path, 400, 'invalid_request']);
      expect(body.error_description).toContain('only application/x-www-form-urlencoded content-type bodies');
    }
  });

  test('and without a body is a request in which everything is missing', async () => {
    const answer = await fetch(`${server.issuer}/oauth2/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${secret}` },
    });
    const { status, body } = await toAnswer(answer);
    expect([status, body.error_description]).toEqual([400, "missing required parameter 'grant_type'"]);
  });
});
