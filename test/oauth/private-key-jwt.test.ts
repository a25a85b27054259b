// private_key_jwt (RFC 7523 §3, OpenID Connect Core §9): an assertion that an attacker has seen
// cannot be replayed, and none can be made without the private key.

import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, decodeJwt, exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { clientCredentialsGrant, PrivateKeyJwt } from 'openid-client';
import { toAnswer } from '../support/admin.ts';
import { honest, tally } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { ASSERTION_TYPE } from '../support/signing.ts';

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
    client_assertion_type: ASSERTION_TYPE,
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

describe('the audience: another server that is named too could use the assertion itself (RFC 7523 §3)', () => {
  const tokenUrl = () => `${server.issuer}/oauth2/token`;
  const statusFor = async (aud: unknown) => (await present(await sign(claims({ aud })))).status;

  test('is the issuer or the token endpoint, as a string or a list of nothing else', async () => {
    const { issuer } = server;
    for (const aud of [
      issuer,
      tokenUrl(),
      [issuer],
      [tokenUrl()],
      [issuer, tokenUrl()],
      [tokenUrl(), issuer, issuer],
    ]) {
      expect([aud, await statusFor(aud)]).toEqual([aud, 200]);
    }
  });

  test('is nothing else', async () => {
    const { issuer } = server;
    const others = ['https://other.example', `${issuer}/`, `${issuer}/oauth2/par`, `${issuer}/oauth2/introspect`];
    const spelled = [
      `${tokenUrl()}/`,
      `${tokenUrl()}?a=b`,
      tokenUrl().toUpperCase(),
      ` ${issuer}`,
      `${issuer} ${issuer}`,
    ];
    const lists = [
      [],
      [issuer, 'https://other.example'],
      ['https://other.example', tokenUrl()],
      [[issuer]],
      [issuer, 1],
    ];
    for (const aud of [...others, ...spelled, ...lists, {}, 1, true, null, '']) {
      expect([aud, await statusFor(aud)]).toEqual([aud, 401]);
    }
  });

  test('is the same at every endpoint where a client authenticates, and not the address of that endpoint', async () => {
    for (const path of ['introspect', 'revoke', 'par', 'device_authorization']) {
      const url = `${server.issuer}/oauth2/${path}`;
      for (const [aud, isAccepted] of [
        [server.issuer, true],
        [tokenUrl(), true],
        [[tokenUrl(), url], false],
        [url, false],
      ] as const) {
        const form = {
          client_assertion_type: ASSERTION_TYPE,
          client_assertion: await sign(claims({ aud })),
          token: 'x',
        };
        const answer = await fetch(url, {
          method: 'POST',
          body: new URLSearchParams({ ...form, client_id: clientId }),
        });
        expect([path, aud, answer.status !== 401]).toEqual([path, aud, isAccepted]);
      }
    }
  });

  test('is the issuer as a string for a client with require_issuer_audience (RFC 7523bis)', async () => {
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] };
    const members = { token_endpoint_auth_method: 'private_key_jwt', require_issuer_audience: true, jwks };
    const careful = await server.admin.createClient({ grant_types: ['client_credentials'], ...members });
    await server.admin.allow(careful.clientId, ORDERS, ['read']);
    const self = { iss: careful.clientId, sub: careful.clientId };
    for (const aud of [tokenUrl(), [server.issuer], [server.issuer, tokenUrl()]]) {
      expect((await present(await sign(claims({ ...self, aud })))).status).toBe(401);
    }
    expect((await present(await sign(claims({ ...self, aud: server.issuer })))).status).toBe(200);
    const path = `/clients/${careful.clientId}`;
    expect((await server.admin.request('GET', path)).body.require_issuer_audience).toBe(true);
    expect((await server.admin.request('PATCH', path, { require_issuer_audience: 'yes' })).status).toBe(400);
    await server.admin.request('PATCH', path, { require_issuer_audience: false });
    expect((await present(await sign(claims({ ...self, aud: tokenUrl() })))).status).toBe(200);
  });
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
      client_assertion_type: ASSERTION_TYPE,
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

test('an expiry more than an hour ahead is refused and leaves no row: it would be kept until then', async () => {
  const countRows = async () => (await server.sql.query('SELECT count(*) FROM replay_guard')).rows[0].count;
  const before = await countRows();
  for (const exp of [now() + 3_700, 4e9, 1e12, 8.64e12, 1e15, Number.MAX_SAFE_INTEGER]) {
    await expectRefused(await sign(claims({ exp })));
  }
  expect(await countRows()).toBe(before);
  expect((await present(await sign(claims({ exp: now() + 3_600 })))).status).toBe(200);
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
