// Mode `jwt` against an issuer over HTTP: forged, foreign and expired tokens, beside valid ones.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { exportJWK, exportSPKI, generateKeyPair, importJWK } from 'jose';
import { createGuard, type GuardOptions } from '../../src/guard/index.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { refused } from './refused.ts';
import { AUDIENCE, nowSeconds, PATHS, sign, startTinyIssuer, type TinyIssuer, tokenClaims } from './tiny-issuer.ts';

let tiny: TinyIssuer;
beforeEach(async () => {
  tiny = await startTinyIssuer();
});
afterEach(() => tiny.close());
afterEach(resetClock);

function guardWith(options: Partial<GuardOptions> = {}) {
  return createGuard({ issuer: tiny.issuer, audience: AUDIENCE, clients: ['app-a'], mode: 'jwt', ...options });
}

async function expectInvalid(token: string, guard = guardWith()) {
  const refusal = await refused(guard, `Bearer ${token}`);
  expect(refusal).toMatchObject({ status: 401, code: 'invalid_token', body: { error: 'invalid_token' } });
  expect(refusal.headers['WWW-Authenticate']).toContain('error="invalid_token"');
  return refusal;
}

function unsigned(header: object, claims: object, signature = ''): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  return `${encode(header)}.${encode(claims)}.${signature}`;
}

test('a token of an allowed client gives its principal, in typed form', async () => {
  const claims: Record<string, unknown> = { ...tokenClaims(tiny.issuer), username: 'ada' };
  const principal = await guardWith().check(`Bearer ${await tiny.issueJwt(claims)}`);
  expect(principal).toStrictEqual({
    clientId: 'app-a',
    subject: 'user-1',
    scopes: ['orders:read', 'orders:write'],
    audience: [AUDIENCE],
    expiresAt: new Date((claims.exp as number) * 1000),
    tokenId: 'token-1',
    username: 'ada',
    claims,
  });
});

test('a valid token of a client that is not on the list is refused with 403, not 401', async () => {
  const token = await tiny.issueJwt({ client_id: 'app-b', azp: 'app-b' });
  const refusal = await refused(guardWith(), `Bearer ${token}`);
  expect(refusal).toMatchObject({ status: 403, code: 'client_not_allowed' });
  expect((await guardWith({ clients: ['app-a', 'app-b'] }).check(`Bearer ${token}`)).clientId).toBe('app-b');
});

describe('an attacker cannot forge a token', () => {
  test('without a signature (alg none; RFC 8725 §2.1)', async () => {
    const claims = tokenClaims(tiny.issuer);
    const [, , signature] = (await tiny.issueJwt()).split('.');
    for (const alg of ['none', 'None', 'NONE', '', undefined]) {
      const header = { alg, typ: 'at+jwt', kid: 'key-1' };
      await expectInvalid(unsigned(header, claims));
      await expectInvalid(unsigned(header, claims, signature));
    }
  });

  test('with the public key as an HMAC secret (algorithm confusion; RFC 8725 §2.1)', async () => {
    const [publicJwk] = tiny.publishedKeys;
    if (publicJwk === undefined) throw new Error('no key');
    const publicKey = await importJWK({ ...publicJwk, ext: true }, 'ES256');
    const pem = new TextEncoder().encode(await exportSPKI(publicKey as never));
    const json = new TextEncoder().encode(JSON.stringify(publicJwk));
    for (const secret of [pem, json]) {
      await expectInvalid(await sign(secret, tokenClaims(tiny.issuer), { alg: 'HS256' }));
    }
  });

  test('with their own key and the kid of a published one', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    await expectInvalid(await sign(privateKey, tokenClaims(tiny.issuer)));
  });

  test('with their own key in the header (RFC 8725 §3.10)', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    tiny.answerJson('/evil-keys', { keys: [{ ...jwk, kid: 'evil' }] });
    const claims = tokenClaims(tiny.issuer);
    await expectInvalid(await sign(privateKey, claims, { jwk }));
    await expectInvalid(await sign(privateKey, claims, { kid: 'evil', jku: `${tiny.issuer}/evil-keys` }));
    expect(tiny.countRequests('/evil-keys')).toBe(0);
  });

  test('with an asymmetric algorithm that is not configured, even if the key is published', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    tiny.publishedKeys.push({ ...(await exportJWK(publicKey)), kid: 'rsa', alg: 'RS256' });
    const token = await sign(privateKey, tokenClaims(tiny.issuer), { alg: 'RS256', kid: 'rsa' });
    await expectInvalid(token);
    const both = guardWith({ algorithms: ['ES256', 'RS256'] });
    expect((await both.check(`Bearer ${token}`)).clientId).toBe('app-a');
  });

  test('by changing the claims of a valid one', async () => {
    const [header, , signature] = (await tiny.issueJwt({ client_id: 'app-b', azp: 'app-b' })).split('.');
    const payload = Buffer.from(JSON.stringify(tokenClaims(tiny.issuer))).toString('base64url');
    await expectInvalid(`${header}.${payload}.${signature}`);
  });

  test.each([
    'a',
    'a.b',
    'a.b.c',
    '..',
    '.....',
    'a.b.c.d.e',
    'eyJhbGciOiJFUzI1NiJ9..',
    'e30.e30.e30',
    'bnVsbA.bnVsbA.AA',
  ])('with malformed text: %s', async (malformed) => {
    await expectInvalid(malformed);
  });
});

describe('a valid signature is not enough', () => {
  test.each<[string, Record<string, unknown>]>([
    ['an ID token, which browsers receive', { typ: 'JWT' }],
    ['a JWT without a type', { typ: undefined }],
    ['a logout token', { typ: 'logout+jwt' }],
  ])('%s is no access token (RFC 9068 §4)', async (_, header) => {
    await expectInvalid(await tiny.issueJwt({}, header));
  });

  test('the long form of the type is the same type (RFC 9068 §4)', async () => {
    const token = await tiny.issueJwt({}, { typ: 'application/at+jwt' });
    expect((await guardWith().check(`Bearer ${token}`)).clientId).toBe('app-a');
  });

  test.each<[string, Record<string, unknown>]>([
    ['from another issuer', { iss: 'https://evil.example.com' }],
    ['whose issuer differs by a slash', { iss: '/' }],
    ['without issuer', { iss: undefined }],
    ['for another API, which could replay it here', { aud: 'https://billing.example.com' }],
    ['for an API whose name starts with ours', { aud: `${AUDIENCE}.evil.example` }],
    ['with an empty audience list', { aud: [] }],
    ['with an audience in an object', { aud: { [AUDIENCE]: true } }],
    ['with an audience in a nested list', { aud: [[AUDIENCE]] }],
    ['without audience', { aud: undefined }],
    ['without expiry', { exp: undefined }],
    ['whose expiry is a string', { exp: '9999999999' }],
    ['without subject', { sub: undefined }],
    ['with an empty subject', { sub: '' }],
    ['whose subject is a number', { sub: 7 }],
    ['without azp', { azp: undefined }],
    ['without client_id', { client_id: undefined }],
    ['that names two clients, one of them allowed', { azp: 'app-b' }],
    ['that names two clients, the other one allowed', { client_id: 'app-b' }],
    ['whose client is a list', { client_id: ['app-a'], azp: ['app-a'] }],
    ['whose client is empty', { client_id: '', azp: '' }],
    ['that is bound to a key of another client (RFC 9449 §7.1)', { cnf: { jkt: 'thumbprint' } }],
  ])('a token %s is refused', async (_, change) => {
    const iss = change.iss === '/' ? { iss: `${tiny.issuer}/` } : {};
    await expectInvalid(await tiny.issueJwt({ ...change, ...iss }));
  });

  test('one of several audiences is enough', async () => {
    const token = await tiny.issueJwt({ aud: ['https://billing.example.com', AUDIENCE] });
    const principal = await guardWith().check(`Bearer ${token}`);
    expect(principal.audience).toEqual(['https://billing.example.com', AUDIENCE]);
    const several = guardWith({ audience: ['https://other.example.com', 'https://billing.example.com'] });
    expect((await several.check(`Bearer ${token}`)).clientId).toBe('app-a');
  });
});

describe('time', () => {
  test.each<[string, () => Record<string, unknown>]>([
    ['expired', () => ({ exp: nowSeconds() - 60 })],
    ['expired just beyond the tolerance', () => ({ exp: nowSeconds() - 6 })],
    ['not valid yet', () => ({ nbf: nowSeconds() + 60 })],
    ['not valid yet, with nbf as a string', () => ({ nbf: '0' })],
  ])('a token that is %s is refused', async (_, change) => {
    await expectInvalid(await tiny.issueJwt(change()));
  });

  test('clocks may differ by the tolerance, in either direction, and by no more', async () => {
    const guard = guardWith();
    await guard.check(`Bearer ${await tiny.issueJwt()}`); // fetches the keys, which takes time
    const late = `Bearer ${await tiny.issueJwt({ exp: nowSeconds() - 1 })}`;
    expect((await guard.check(late)).clientId).toBe('app-a');
    const early = `Bearer ${await tiny.issueJwt({ nbf: nowSeconds() + 4 })}`;
    expect((await guard.check(early)).clientId).toBe('app-a');
    const strict = guardWith({ clockToleranceSeconds: 0 });
    expect((await refused(strict, late)).status).toBe(401);
    expect((await refused(strict, `Bearer ${await tiny.issueJwt({ nbf: nowSeconds() + 60 })}`)).status).toBe(401);
  });
});

describe('the public keys', () => {
  test('are fetched once, for the first token', async () => {
    const guard = guardWith();
    expect(tiny.requests).toHaveLength(0);
    const tokens = await Promise.all(Array.from({ length: 20 }, () => tiny.issueJwt()));
    await Promise.all(tokens.map((token) => guard.check(`Bearer ${token}`)));
    await guard.check(`Bearer ${tokens[0]}`);
    expect(tiny.requests.map((request) => request.path)).toEqual([PATHS.discovery, PATHS.jwks]);
  });

  test('are fetched again for an unknown kid, so that a rotated key is accepted', async () => {
    const guard = guardWith({ jwksCooldownSeconds: 0 });
    await guard.check(`Bearer ${await tiny.issueJwt()}`);
    const next = await generateKeyPair('ES256', { extractable: true });
    tiny.publishedKeys.push({ ...(await exportJWK(next.publicKey)), kid: 'key-2', alg: 'ES256' });
    const token = await sign(next.privateKey, tokenClaims(tiny.issuer), { kid: 'key-2' });
    expect((await guard.check(`Bearer ${token}`)).clientId).toBe('app-a');
    expect(tiny.countRequests(PATHS.jwks)).toBe(2);
  });

  test('a flood of made-up kids cannot turn the guard into a weapon against the issuer: one refetch per cool-down', async () => {
    const guard = guardWith({ jwksCooldownSeconds: 60 });
    await guard.check(`Bearer ${await tiny.issueJwt()}`);
    const { privateKey } = await generateKeyPair('ES256');
    const flood = async () => {
      for (let i = 0; i < 30; i++) {
        await expectInvalid(await sign(privateKey, tokenClaims(tiny.issuer), { kid: `invented-${i}` }), guard);
      }
    };
    await flood();
    expect(tiny.countRequests(PATHS.jwks)).toBe(1);
    moveClock(61);
    await Promise.all([flood(), flood()]);
    expect(tiny.countRequests(PATHS.jwks)).toBeLessThanOrEqual(3);
    expect(tiny.countRequests(PATHS.jwks)).toBeGreaterThanOrEqual(2);
  });

  test('a key that the issuer has removed is not accepted after the cache time', async () => {
    const guard = guardWith({ jwksCacheSeconds: 0 });
    const token = await tiny.issueJwt();
    await guard.check(`Bearer ${token}`);
    tiny.publishedKeys = [];
    await expectInvalid(token, guard);
  });

  test('are taken from jwksUri without discovery if it is given', async () => {
    const guard = guardWith({ jwksUri: `${tiny.issuer}${PATHS.jwks}` });
    await guard.check(`Bearer ${await tiny.issueJwt()}`);
    expect(tiny.requests.map((request) => request.path)).toEqual([PATHS.jwks]);
  });

  test.each<[string, string, (issuer: TinyIssuer) => void]>([
    ['jwks', 'fail', (it) => it.answer(PATHS.jwks, (_req, res) => void res.writeHead(500).end())],
    ['jwks', 'return a page', (it) => it.answer(PATHS.jwks, (_req, res) => void res.end('<html></html>'))],
    ['jwks', 'return no key set', (it) => it.answerJson(PATHS.jwks, { keys: 'none' })],
    ['jwks', 'return no keys', (it) => it.answerJson(PATHS.jwks, { keys: [7] })],
    [
      'jwks',
      'redirect',
      (it) => it.answer(PATHS.jwks, (_req, res) => void res.writeHead(302, { location: '/evil' }).end()),
    ],
    ['jwks', 'hang up', (it) => it.answer(PATHS.jwks, (req) => void req.socket.destroy())],
    ['discovery', 'fails', (it) => it.answer(PATHS.discovery, (_req, res) => void res.writeHead(503).end())],
    [
      'discovery',
      'belongs to another issuer',
      (it) => it.answerJson(PATHS.discovery, { issuer: `${it.issuer}/`, jwks_uri: `${it.issuer}${PATHS.jwks}` }),
    ],
    ['discovery', 'has no jwks_uri', (it) => it.answerJson(PATHS.discovery, { issuer: it.issuer })],
    ['discovery', 'is a list', (it) => it.answerJson(PATHS.discovery, [])],
  ])('%s: if they %s, a valid token is answered with 503, and accepted later', async (path, _, breakIt) => {
    const guard = guardWith();
    const token = await tiny.issueJwt();
    const working = { discovery: { issuer: tiny.issuer, jwks_uri: `${tiny.issuer}/jwks` }, keys: tiny.publishedKeys };
    breakIt(tiny);
    const refusal = await refused(guard, `Bearer ${token}`);
    expect(refusal).toMatchObject({ status: 503, code: 'temporarily_unavailable' });
    expect(refusal.headers['Retry-After']).toMatch(/^\d+$/);
    expect(refusal.headers['WWW-Authenticate']).toBeUndefined();
    if (path === 'jwks') tiny.answerJson(PATHS.jwks, { keys: working.keys });
    else tiny.answerJson(PATHS.discovery, working.discovery);
    expect((await guard.check(`Bearer ${token}`)).clientId).toBe('app-a');
  });

  test('that are private ones, with which anyone could sign, mean 503', async () => {
    tiny.publishedKeys = [{ ...(await exportJWK(tiny.signingKey)), kid: 'key-1' }];
    expect((await refused(guardWith(), `Bearer ${await tiny.issueJwt()}`)).status).toBe(503);
  });

  test('are not fetched without TLS from an https issuer: an attacker on the network could replace them', async () => {
    const fetched: string[] = [];
    const issuer = 'https://id.example.com';
    const guard = guardWith({
      issuer,
      fetch: async (url) => {
        fetched.push(String(url));
        return Response.json({ issuer, jwks_uri: 'http://id.example.com/jwks' });
      },
    });
    expect((await refused(guard, `Bearer ${await tiny.issueJwt({ iss: issuer })}`)).status).toBe(503);
    expect(fetched).toEqual([`${issuer}${PATHS.discovery}`]);
  });

  test('an issuer that is down means 503', async () => {
    const guard = guardWith();
    const token = await tiny.issueJwt();
    await tiny.close();
    expect((await refused(guard, `Bearer ${token}`)).status).toBe(503);
    tiny = await startTinyIssuer();
  });
});

test('the response contains neither reason nor token; the reason is for the log', async () => {
  const token = await tiny.issueJwt({ exp: nowSeconds() - 60 });
  const foreign = await tiny.issueJwt({ aud: 'https://billing.example.com' });
  const expired = await expectInvalid(token);
  const misdirected = await expectInvalid(foreign);
  expect(expired.body).toEqual(misdirected.body);
  expect(expired.headers).toEqual(misdirected.headers);
  expect(expired.reason).not.toBe(misdirected.reason);
  const everything = JSON.stringify([expired, expired.message, expired.stack, expired.cause]);
  expect(everything).not.toContain(token.split('.')[2]);
});
