// private_key_jwt (RFC 7523 §3, OpenID Connect Core §9): an assertion that an attacker has seen
// cannot be replayed, and none can be made without the private key.

import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type CryptoKey, decodeJwt, exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { clientCredentialsGrant, PrivateKeyJwt } from 'openid-client';
import { toAnswer } from '../support/admin.ts';
import { honest, tally } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let clientId: string;
let publicKey: CryptoKey;
let privateKey: CryptoKey;

beforeAll(async () => {
  server = await startTestServer();
  ({ publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true }));
  await server.admin.createApi(ORDERS, { scopes: ['read'] });
  clientId = await register([{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }]);
});
afterAll(() => server.stop());

async function register(keys: object[]): Promise<string> {
  const client = await server.admin.createClient({
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys },
  });
  expect(client.clientSecret).toBe('');
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  return client.clientId;
}

function claims(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: clientId, sub: clientId, aud: server.issuer, iat: now, exp: now + 60, jti: randomUUID() };
  return Object.fromEntries(Object.entries({ ...all, ...overrides }).filter(([, value]) => value !== undefined));
}

function sign(
  payload: Record<string, unknown>,
  key: CryptoKey | Uint8Array = privateKey,
  header = {},
): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(key);
}

async function present(assertion: string, form: Record<string, string> = {}) {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
    ...form,
  });
  return toAnswer(await fetch(`${server.issuer}/oauth2/token`, { method: 'POST', body }));
}

async function expectRefused(assertion: string): Promise<void> {
  const { status, body } = await present(assertion);
  expect([status, body.error]).toEqual([401, 'invalid_client']);
  expect(body).not.toHaveProperty('access_token');
}

test('an app with openid-client signs and gets a bound token', async () => {
  const app = await honest(server, { clientId, clientSecret: '' }, PrivateKeyJwt({ key: privateKey, kid: 'one' }));
  const tokens = await clientCredentialsGrant(app);
  expect(decodeJwt(tokens.access_token)).toMatchObject({ client_id: clientId, azp: clientId });
});

test('the assertion is accepted for the issuer and for the token endpoint as audience', async () => {
  for (const aud of [server.issuer, `${server.issuer}/oauth2/token`]) {
    expect((await present(await sign(claims({ aud })))).status).toBe(200);
  }
});

test('an assertion cannot be replayed (RFC 7523 §3, jti)', async () => {
  const assertion = await sign(claims());
  expect((await present(assertion)).status).toBe(200);
  await expectRefused(assertion);
});

test('of twenty parallel presentations of one assertion exactly one succeeds', async () => {
  for (let round = 0; round < 3; round++) {
    const assertion = await sign(claims());
    const answers = await Promise.all(Array.from({ length: 20 }, () => present(assertion)));
    expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['401 invalid_client'] });
  }
});

test('it cannot be replayed at another node', async () => {
  const twin = await server.startTwin();
  try {
    const assertion = await sign(claims());
    expect((await present(assertion)).status).toBe(200);
    const body = new URLSearchParams({
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: assertion,
    });
    const { host } = new URL(server.issuer);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { host, 'content-type': 'application/x-www-form-urlencoded' };
      const sent = request(`${twin.url}/oauth2/token`, { method: 'POST', headers }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode));
      });
      sent.on('error', reject).end(body.toString());
    });
    expect(status).toBe(401);
  } finally {
    await twin.stop();
  }
});

const now = () => Math.floor(Date.now() / 1000);
test.each<[string, () => Record<string, unknown>]>([
  ['for another server', () => ({ aud: 'https://other.example' })],
  ['without an audience', () => ({ aud: undefined })],
  ['expired', () => ({ iat: now() - 120, exp: now() - 60 })],
  ['without an expiry', () => ({ exp: undefined })],
  ['without a jti, which could be replayed', () => ({ jti: undefined })],
  ['not yet valid', () => ({ nbf: now() + 120 })],
  ['of another issuer', () => ({ iss: 'another' })],
  ['in the name of another client', () => ({ sub: 'lanyard-admin', iss: 'lanyard-admin' })],
])('an assertion that is %s is refused', async (_name, overrides) => {
  await expectRefused(await sign(claims(overrides())));
});

test('an expiry in centuries is stored without an error', async () => {
  for (const exp of [4e9, 1e12, 8.64e12, 1e15, Number.MAX_SAFE_INTEGER]) {
    const assertion = await sign(claims({ exp }));
    expect((await present(assertion)).status).toBeLessThan(500);
    await expectRefused(assertion);
  }
});

test('alg none: an assertion without a signature is refused (RFC 8725 §2.1)', async () => {
  await expectRefused(new UnsecuredJWT(claims()).encode());
});

test('HS256 with the public key as its secret is refused (RFC 8725 §2.1)', async () => {
  const jwk = JSON.stringify(await exportJWK(publicKey));
  for (const secret of [await exportSPKI(publicKey), jwk]) {
    await expectRefused(await sign(claims(), new TextEncoder().encode(secret), { alg: 'HS256' }));
  }
});

test('another key is refused, with any kid and with the key in the header', async () => {
  const attacker = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(attacker.publicKey);
  for (const header of [{}, { kid: undefined }, { jwk }, { kid: 'two', jwk }, { jku: 'http://127.0.0.1:9/jwks' }]) {
    await expectRefused(await sign(claims(), attacker.privateKey, header));
  }
});

test('the key of one client does not authenticate another', async () => {
  const other = await generateKeyPair('ES256', { extractable: true });
  const otherId = await register([{ ...(await exportJWK(other.publicKey)), kid: 'one' }]);
  await expectRefused(await sign(claims({ iss: otherId, sub: otherId })));
});

test('a signature that was tampered with is refused', async () => {
  const [header, , signature] = (await sign(claims())).split('.');
  const payload = Buffer.from(JSON.stringify(claims({ exp: now() + 9_999 }))).toString('base64url');
  await expectRefused(`${header}.${payload}.${signature}`);
});

test('the client is refused with a secret, and without authentication', async () => {
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId });
  const url = `${server.issuer}/oauth2/token`;
  expect((await fetch(url, { method: 'POST', body })).status).toBe(401);
  body.set('client_secret', 'undefined');
  expect((await fetch(url, { method: 'POST', body })).status).toBe(401);
});

test('malformed assertions: 400 or 401', async () => {
  for (const malformed of ['x', 'a.b.c', '..', 'e30.e30.', `${'x'.repeat(40_000)}.y.z`, 'a\0b']) {
    expect([400, 401]).toContain((await present(malformed)).status);
  }
});
