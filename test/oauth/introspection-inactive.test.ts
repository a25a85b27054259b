// Text that is not an active access or refresh token of this server is `{"active": false}` for
// every caller: the same status, headers and bytes (RFC 7662 §2.2, §4: a caller must not learn
// why).

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  type CryptoKey,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { introspect, requestToken, revoke, type TestClient } from '../support/admin.ts';
import { resetClock, stopClock } from '../support/clock.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  INACTIVE,
  loggedFailures,
  obtainCode,
  obtainTokens,
  type UserTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';
const VAULT = 'https://vault.example';

let server: TestServer;
let app: TestClient;
let api: TestClient;
let tokens: UserTokens;
let reference: { status: number; headers: Record<string, string> };

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  await admin.createUser(ALICE.username, ALICE.password);
  app = await admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
    // With the key of access tokens.
    id_token_signed_response_alg: 'ES256',
  });
  api = await admin.createClient();
  const members = { scopes: ['read'], introspection_client_id: api.clientId };
  await admin.createApi(ORDERS, members);
  await admin.createApi(VAULT, { ...members, access_token_format: 'opaque' });
  for (const identifier of [ORDERS, VAULT]) await admin.allow(app.clientId, identifier, ['read']);
  tokens = await obtainTokens(server, app, { scope: 'openid read', resource: ORDERS });
  reference = visible(await introspect(server.issuer, api, 'unknown'));
});
afterAll(() => server.stop());
afterEach(resetClock);

/** Status and headers, without those that differ for each request. */
function visible({ status, headers }: { status: number; headers: Headers }) {
  const all = Object.fromEntries(headers);
  for (const name of ['date', 'x-request-id']) delete all[name];
  return { status, headers: all };
}

async function expectInactive(token: string, callers = [app, api]): Promise<void> {
  for (const caller of callers) {
    const answer = await introspect(server.issuer, caller, token);
    expect(answer.body).toEqual(INACTIVE);
    expect(visible(answer)).toEqual(reference);
  }
}

async function expectActive(token: string): Promise<void> {
  expect((await introspect(server.issuer, app, token)).body).toMatchObject({ active: true, client_id: app.clientId });
}

describe('text that is not a token', () => {
  test.each([
    ['unknown', 'A'.repeat(43)],
    ['short', 'x'],
    ['with NUL', 'a\0b'],
    ['not ASCII', 'tökén ✓'],
    ['dots', '...'],
    ['a JWT of empty parts', 'e30.e30.e30'],
    ['a JWT without signature', 'eyJhbGciOiJFUzI1NiJ9.e30.'],
    ['not even base64', '###.###.###'],
    ['five parts', 'eyJhbGciOiJkaXIifQ.a.b.c.d'],
    ['long', 'x'.repeat(40_000)],
    ['a long JWT', `eyJhbGciOiJFUzI1NiJ9.${'e'.repeat(40_000)}.e30`],
    ['a prefix alone', 'jwt:'],
    ['SQL', "' OR 1=1 --"],
  ])('%s', async (_name, token) => {
    await expectInactive(token);
  });

  test('text around a valid token: the token is the whole value', async () => {
    const { accessToken } = tokens;
    const opaque = await clientToken(server, app, { resource: VAULT });
    await expectActive(opaque);
    for (const token of [accessToken, opaque]) {
      await expectActive(token);
      for (const around of [`Bearer ${token}`, ` ${token}`, `${token}.`, `${token}x`, token.toUpperCase()]) {
        await expectInactive(around);
      }
    }
  });

  test('a prefix before a valid token: the token is the whole value', async () => {
    await expectInactive(`jwt:${tokens.accessToken}`);
    await expectInactive(`jwt:jwt:${tokens.accessToken}`);
    await expectInactive(`jwt:${await clientToken(server, app, { resource: VAULT })}`);
  });

  test('the hash or the id of a token in the database is not a token', async () => {
    const { rows } = await server.sql.query('SELECT id FROM oidc_artifacts');
    for (const { id } of rows.slice(0, 10)) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) await expectInactive(id.toString(encoding));
    }
  });
});

describe('JWTs of other issuers', () => {
  let forge: (claims: JWTPayload, header?: Record<string, unknown>, key?: CryptoKey) => Promise<string>;
  let claims: JWTPayload;
  let header: Record<string, unknown>;

  beforeAll(async () => {
    const attacker = await generateKeyPair('ES256', { extractable: true });
    claims = decodeJwt(tokens.accessToken);
    header = { ...decodeProtectedHeader(tokens.accessToken) };
    forge = (payload, overrides = {}, key = attacker.privateKey) =>
      new SignJWT(payload).setProtectedHeader({ ...header, ...overrides } as { alg: string }).sign(key);
  });

  test('signed by another key, with our kid, without one, or with the key in the header', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    for (const overrides of [
      {},
      { kid: undefined },
      { kid: 'foreign' },
      { kid: '' },
      { jwk },
      { jku: 'http://127.0.0.1:9' },
    ]) {
      await expectInactive(await forge(claims, overrides, privateKey));
    }
  });

  test('of another issuer', async () => {
    await expectInactive(await forge({ ...claims, iss: 'https://other.example' }));
  });

  test('alg none, and HS256 with our public key as its secret (RFC 8725 §2.1)', async () => {
    await expectInactive(new UnsecuredJWT(claims).encode());
    const { keys } = (await (await fetch(`${server.issuer}/oauth2/jwks`)).json()) as { keys: object[] };
    for (const jwk of keys) {
      const secret = new TextEncoder().encode(JSON.stringify(jwk));
      await expectInactive(await new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256' }).sign(secret));
    }
  });

  test('a signature of this server with other claims', async () => {
    const [head, , signature] = tokens.accessToken.split('.');
    const payload = Buffer.from(JSON.stringify({ ...claims, azp: api.clientId, client_id: api.clientId }));
    await expectInactive(`${head}.${payload.toString('base64url')}.${signature}`);
  });
});

describe('tokens of this server of the wrong type', () => {
  test('an ID token is not an access token (RFC 9068 §4, typ)', async () => {
    await expectInactive(tokens.idToken);
  });

  test('an ID token signed with RS256', async () => {
    const client = await server.admin.createClient({ ...CODE_FLOW, id_token_signed_response_alg: 'RS256' });
    const { idToken } = await obtainTokens(server, client);
    await expectInactive(idToken, [client, app, api]);
  });

  test('an authorization code', async () => {
    const { code } = await obtainCode(server, app);
    await expectInactive(code);
  });
});

describe('tokens that are over', () => {
  const formats = [
    ['JWT', ORDERS],
    ['opaque', VAULT],
  ] as const;
  test.each(formats)('expired, at the second of exp, with no tolerance for clock skew: %s', async (_name, resource) => {
    const token = await clientToken(server, app, { resource });
    const exp = (await introspect(server.issuer, app, token)).body.exp as number;
    stopClock(exp - 0.001);
    await expectActive(token);
    stopClock(exp);
    await expectInactive(token);
  });

  test.each(formats)('revoked: %s', async (_name, resource) => {
    const token = await clientToken(server, app, { resource });
    const kept = await clientToken(server, app, { resource });
    await expectActive(token);
    await revoke(server.issuer, app, token);
    await expectInactive(token);
    await expectActive(kept);
  });

  test('the JWT of a grant is revoked together with its refresh token', async () => {
    const own = await obtainTokens(server, app, { scope: 'openid read', resource: ORDERS });
    await expectActive(own.accessToken);
    await revoke(server.issuer, app, own.refreshToken);
    await expectInactive(own.refreshToken);
    await expectInactive(own.accessToken);
  });

  test('a grant that was deleted: its JWT, its opaque token, its refresh token', async () => {
    const jwt = await obtainTokens(server, app, { scope: 'openid read', resource: ORDERS });
    const opaque = await obtainTokens(server, app, { scope: 'openid read', resource: VAULT });
    await expectActive(opaque.accessToken);
    await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Grant'`);
    for (const token of [jwt.accessToken, opaque.accessToken, jwt.refreshToken, opaque.refreshToken]) {
      await expectInactive(token);
    }
  });
});

test('none of these requests caused a server error', async () => {
  expect((await requestToken(server.issuer, app, { resource: ORDERS })).status).toBe(200);
  expect(loggedFailures(server)).toEqual([]);
});
