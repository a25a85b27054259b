// Revocation (RFC 7009): a client can revoke its own tokens only, and learns nothing about others.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { tokenRevocation } from 'openid-client';
import { postForm, revoke, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  exchange,
  honest,
  isActive,
  obtainCode,
  obtainTokens,
  PUBLIC,
  refresh,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';
const APIS = [
  ['JWT', JWT_API],
  ['opaque', OPAQUE_API],
] as const;

let server: TestServer;
let app: TestClient;
let publicApp: TestClient;
let otherApp: TestClient;
let api: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  api = await admin.createClient();
  const grantTypes = [...CODE_FLOW.grant_types, 'client_credentials'];
  app = await admin.createClient({ ...CODE_FLOW, grant_types: grantTypes, id_token_signed_response_alg: 'ES256' });
  publicApp = await admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  otherApp = await admin.createClient({ ...CODE_FLOW, grant_types: grantTypes });
  const members = { scopes: ['read'], introspection_client_id: api.clientId };
  await admin.createApi(JWT_API, members);
  await admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  for (const { clientId } of [app, publicApp, otherApp]) {
    for (const [, identifier] of APIS) await admin.allow(clientId, identifier, ['read']);
  }
});
afterAll(() => server.stop());

const forUser = (client: TestClient, resource: string) =>
  obtainTokens(server, client, { scope: 'openid read', resource });

describe.each(APIS)('a %s access token', (_name, resource) => {
  test('of a client ends with its revocation, by openid-client', async () => {
    const token = await clientToken(server, app, { resource });
    expect(await isActive(server, api, token)).toBe(true);
    await tokenRevocation(await honest(server, app), token);
    expect(await isActive(server, api, token)).toBe(false);
    expect(await isActive(server, app, token)).toBe(false);
  });

  test('of a user ends alone: the refresh token stays valid (RFC 7009 §2.1)', async () => {
    const tokens = await forUser(app, resource);
    const { status, body } = await revoke(server.issuer, app, tokens.accessToken);
    expect([status, body]).toEqual([200, { text: '' }]);
    expect(await isActive(server, app, tokens.accessToken)).toBe(false);
    expect(await isActive(server, app, tokens.refreshToken)).toBe(true);
    const refreshed = await refresh(server, app, tokens.refreshToken);
    expect(refreshed.status).toBe(200);
    expect(await isActive(server, api, refreshed.body.access_token as string)).toBe(true);
  });

  test('is answered with 200, no body and no Content-Type: oidc-client-ts would refuse another type', async () => {
    const token = await clientToken(server, app, { resource });
    for (const value of [token, token, 'unknown']) {
      const { status, headers, body } = await revoke(server.issuer, app, value);
      expect([status, headers.get('content-type'), headers.get('content-length'), body]).toEqual([
        ...[200, null, '0'],
        { text: '' },
      ]);
    }
  });

  test('of a public client is revoked by it, with its client_id', async () => {
    const { accessToken } = await forUser(publicApp, resource);
    expect((await revoke(server.issuer, publicApp, accessToken)).status).toBe(200);
    expect(await isActive(server, api, accessToken)).toBe(false);
  });

  test('of another client stays active: with a stolen token a client could otherwise sign out its owner', async () => {
    const own = await clientToken(server, app, { resource });
    const ofUser = await forUser(app, resource);
    for (const caller of [otherApp, publicApp, api]) {
      for (const token of [own, ofUser.accessToken, ofUser.refreshToken]) {
        const answer = await revoke(server.issuer, caller, token);
        const unknown = await revoke(server.issuer, caller, 'unknown');
        expect([answer.status, answer.body]).toEqual([unknown.status, unknown.body]);
        expect(answer.status).toBe(200);
        expect(await isActive(server, app, token)).toBe(true);
      }
    }
  });

  test('can be revoked twice', async () => {
    const token = await clientToken(server, app, { resource });
    for (let time = 0; time < 2; time++) expect((await revoke(server.issuer, app, token)).status).toBe(200);
    expect(await isActive(server, app, token)).toBe(false);
  });

  test('is found with any token_type_hint (RFC 7009 §2.1)', async () => {
    for (const token_type_hint of ['refresh_token', 'access_token', 'unknown']) {
      const token = await clientToken(server, app, { resource });
      const { status } = await postForm(`${server.issuer}/oauth2/revoke`, app, { token, token_type_hint });
      expect(status).toBe(200);
      expect(await isActive(server, app, token)).toBe(false);
    }
  });

  test('is refused at userinfo after its revocation', async () => {
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid' });
    expect((await userinfo(server, accessToken)).status).toBe(200);
    await revoke(server.issuer, app, accessToken);
    expect((await userinfo(server, accessToken)).status).toBe(401);
  });
});

describe('a refresh token', () => {
  test.each(APIS)(
    'is revoked together with the %s access token of its grant (RFC 7009 §2.1)',
    async (_name, resource) => {
      const tokens = await forUser(app, resource);
      expect((await revoke(server.issuer, app, tokens.refreshToken)).status).toBe(200);
      expect(await isActive(server, app, tokens.refreshToken)).toBe(false);
      expect(await isActive(server, app, tokens.accessToken)).toBe(false);
      const { status, body } = await refresh(server, app, tokens.refreshToken);
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
    },
  );

  test('does not end the grant of the same user for another client', async () => {
    const [mine, others] = [await forUser(app, JWT_API), await forUser(publicApp, JWT_API)];
    await revoke(server.issuer, app, mine.refreshToken);
    expect(await isActive(server, api, others.accessToken)).toBe(true);
    expect((await refresh(server, publicApp, others.refreshToken)).status).toBe(200);
  });

  test('after its revocation, the user can sign in again', async () => {
    const tokens = await forUser(app, JWT_API);
    await revoke(server.issuer, app, tokens.refreshToken);
    expect(await isActive(server, app, (await forUser(app, JWT_API)).accessToken)).toBe(true);
  });
});

describe('text that is not a token', () => {
  test.each(['unknown', 'a.b.c', 'jwt:x', 'a\0b', 'eyJhbGciOiJub25lIn0.e30.', 'x'.repeat(40_000)])(
    'is answered with 200 (RFC 7009 §2.2): %.20s',
    async (token) => {
      expect((await revoke(server.issuer, app, token)).status).toBe(200);
    },
  );

  test('an ID token: revoking it changes nothing', async () => {
    const tokens = await forUser(app, JWT_API);
    expect((await revoke(server.issuer, app, tokens.idToken)).status).toBe(200);
    expect(await isActive(server, app, tokens.accessToken)).toBe(true);
    expect(await isActive(server, app, tokens.refreshToken)).toBe(true);
  });

  test('a JWT behind a prefix: nothing is revoked', async () => {
    const token = await clientToken(server, app, { resource: JWT_API });
    expect((await revoke(server.issuer, app, `jwt:${token}`)).status).toBe(200);
    expect(await isActive(server, app, token)).toBe(true);
  });

  test('an authorization code: it can still be redeemed', async () => {
    const issued = await obtainCode(server, app);
    expect((await revoke(server.issuer, app, issued.code)).status).toBe(200);
    expect((await exchange(server, app, issued)).status).toBe(200);
  });
});

describe('invalid requests', () => {
  test('no client, a wrong secret: 401, and the token stays active', async () => {
    const token = await clientToken(server, app, { resource: JWT_API });
    const url = `${server.issuer}/oauth2/revoke`;
    expect((await postForm(url, undefined, { token })).status).toBe(401);
    expect((await revoke(server.issuer, { ...app, clientSecret: 'wrong' }, token)).status).toBe(401);
    expect((await postForm(url, undefined, { token, client_id: app.clientId })).status).toBe(401);
    expect(await isActive(server, app, token)).toBe(true);
  });

  test('no token or two: 400, and nothing is revoked', async () => {
    const token = await clientToken(server, app, { resource: JWT_API });
    const url = `${server.issuer}/oauth2/revoke`;
    expect((await postForm(url, app, {})).status).toBe(400);
    const doubled = new URLSearchParams([
      ['token', token],
      ['token', token],
    ]);
    expect((await postForm(url, app, doubled)).status).toBe(400);
    expect(await isActive(server, app, token)).toBe(true);
  });
});
