// Mode `introspection` against an endpoint over HTTP, which also sends invalid responses.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createGuard, type Guard, type GuardOptions, type IntrospectionOptions } from '../../src/guard/index.ts';
import { createIntrospectionCache } from '../../src/guard/introspection-cache.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { WAIT_MS } from '../support/patience.ts';
import { refused } from './refused.ts';
import { AUDIENCE, nowSeconds, PATHS, sendJson, startTinyIssuer, type TinyIssuer, tokenClaims } from './tiny-issuer.ts';

let tiny: TinyIssuer;
beforeEach(async () => {
  tiny = await startTinyIssuer();
  tiny.answerJson(PATHS.introspection, activeAnswer());
});
afterEach(() => tiny.close());
afterEach(resetClock);

const TOKEN = 'opaque-token_1';

function activeAnswer(change: Record<string, unknown> = {}): Record<string, unknown> {
  return { active: true, token_type: 'Bearer', ...tokenClaims(tiny.issuer), ...change };
}

function guardWith(introspection: Partial<IntrospectionOptions> = {}, options: Partial<GuardOptions> = {}) {
  return createGuard({
    issuer: tiny.issuer,
    audience: AUDIENCE,
    clients: ['app-a'],
    mode: 'introspection',
    introspection: { clientId: 'orders-api', clientSecret: 'secret', timeoutMs: WAIT_MS, ...introspection },
    ...options,
  });
}

const check = (guard = guardWith(), token = TOKEN) => guard.check(`Bearer ${token}`);
const introspectionCount = () => tiny.countRequests(PATHS.introspection);

test('an active token of an allowed client gives its principal, in typed form', async () => {
  const answer = activeAnswer({ username: 'ada' });
  tiny.answerJson(PATHS.introspection, answer);
  expect(await check()).toStrictEqual({
    clientId: 'app-a',
    subject: 'user-1',
    scopes: ['orders:read', 'orders:write'],
    audience: [AUDIENCE],
    expiresAt: new Date((answer.exp as number) * 1000),
    tokenId: 'token-1',
    username: 'ada',
    claims: answer,
  });
});

test('an active token of a client that is not on the list is refused with 403', async () => {
  tiny.answerJson(PATHS.introspection, activeAnswer({ client_id: 'app-b', azp: 'app-b' }));
  expect(await refused(guardWith(), `Bearer ${TOKEN}`)).toMatchObject({ status: 403, code: 'client_not_allowed' });
});

test('the request is that of RFC 7662 §2.1, with form-encoded basic credentials (RFC 6749 §2.3.1)', async () => {
  await check(guardWith({ clientId: 'orders api:1', clientSecret: 's%e+c:r ü&t' }));
  const request = tiny.requests.at(-1);
  expect(request).toMatchObject({ method: 'POST', path: PATHS.introspection });
  expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded');
  expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
    token: TOKEN,
    token_type_hint: 'access_token',
  });
  const credentials = Buffer.from(request?.headers.authorization?.split(' ')[1] ?? '', 'base64').toString();
  expect(credentials).toBe('orders+api%3A1:s%25e%2Bc%3Ar+%C3%BC%26t');
});

test('the endpoint comes from discovery, or from the options without discovery', async () => {
  await check();
  expect(tiny.requests.map((request) => request.path)).toEqual([PATHS.discovery, PATHS.introspection]);
  await check(guardWith({ endpoint: `${tiny.issuer}${PATHS.introspection}` }));
  expect(tiny.countRequests(PATHS.discovery)).toBe(1);
});

describe('a response without a clearly valid access token is refused with 401:', () => {
  test.each<[string, Record<string, unknown>]>([
    ['not active', { active: false }],
    ['active as a string: "false" would be truthy as well', { active: 'true' }],
    ['active as a number', { active: 1 }],
    ['active missing', { active: undefined }],
    ['no audience: the token would be valid at every API', { aud: undefined }],
    ['the audience of another API', { aud: 'https://billing.example.com' }],
    ['an empty audience', { aud: '' }],
    ['another issuer', { iss: 'https://evil.example.com' }],
    ['a refresh token, which only its client may use', { token_type: 'refresh_token' }],
    ['no token type: it could be a refresh token', { token_type: undefined }],
    ['a token that needs a proof of possession', { token_type: 'DPoP' }],
    ['a token bound to a key', { cnf: { 'x5t#S256': 'thumbprint' } }],
    ['expired, although active', { exp: 1 }],
    ['no expiry', { exp: undefined }],
    ['not valid yet', { nbf: 9_999_999_999 }],
    ['no subject', { sub: undefined }],
    ['no client', { client_id: undefined, azp: undefined }],
    ['no azp', { azp: undefined }],
    ['two clients', { azp: 'app-b' }],
  ])('%s', async (_, change) => {
    tiny.answerJson(PATHS.introspection, activeAnswer(change));
    expect(await refused(guardWith({ cacheSeconds: 60 }), `Bearer ${TOKEN}`)).toMatchObject({
      status: 401,
      code: 'invalid_token',
    });
  });

  test('but iss is optional (RFC 7662 §2.2), and token_type is not case-sensitive', async () => {
    tiny.answerJson(PATHS.introspection, activeAnswer({ iss: undefined, token_type: 'bearer' }));
    expect((await check()).clientId).toBe('app-a');
  });
});

describe('without a response of the endpoint no token is accepted; 503 when it', () => {
  test.each<[string, () => void]>([
    ['fails', () => tiny.answer(PATHS.introspection, (_req, res) => void res.writeHead(500).end('{"active":true}'))],
    ['rejects the credentials of the guard', () => tiny.answer(PATHS.introspection, unauthorized)],
    ['answers with a page', () => tiny.answer(PATHS.introspection, (_req, res) => void res.end('<html></html>'))],
    ['answers with a list', () => tiny.answerJson(PATHS.introspection, [activeAnswer()])],
    ['answers with true', () => tiny.answerJson(PATHS.introspection, true)],
    ['answers with nothing', () => tiny.answer(PATHS.introspection, (_req, res) => void res.end())],
    ['hangs up', () => tiny.answer(PATHS.introspection, (req) => void req.socket.destroy())],
    ['hangs up in the middle', () => tiny.answer(PATHS.introspection, halfAnAnswer)],
  ])('%s', async (_, breakIt) => {
    const guard = guardWith();
    await check(guard);
    breakIt();
    await expectUnavailable(guard);
  });

  test.each<[string, () => void]>([
    ['never answers', () => tiny.answer(PATHS.introspection, () => {})],
    ['never finishes', () => tiny.answer(PATHS.introspection, (_req, res) => void res.write('{"active":'))],
  ])('%s', async (_, breakIt) => {
    breakIt();
    await expectUnavailable(guardWith({ endpoint: `${tiny.issuer}${PATHS.introspection}`, timeoutMs: 500 }));
  });

  async function expectUnavailable(guard: Guard): Promise<void> {
    const refusal = await refused(guard, `Bearer ${TOKEN}`);
    expect(refusal).toMatchObject({ status: 503, code: 'temporarily_unavailable', body: { error: refusal.code } });
    expect(refusal.headers['Retry-After']).toMatch(/^\d+$/);
    expect(`${refusal.stack} ${refusal.cause}`).not.toContain(TOKEN);
  }

  test('redirects, and neither credentials nor token are sent to the other URL', async () => {
    tiny.answer(PATHS.introspection, (_req, res) => void res.writeHead(307, { location: '/elsewhere' }).end());
    tiny.answerJson('/elsewhere', activeAnswer());
    expect((await refused(guardWith(), `Bearer ${TOKEN}`)).status).toBe(503);
    expect(tiny.countRequests('/elsewhere')).toBe(0);
  });

  test('is down', async () => {
    const guard = guardWith();
    await check(guard);
    await tiny.close();
    expect((await refused(guard, `Bearer ${TOKEN}`)).status).toBe(503);
    tiny = await startTinyIssuer();
  });

  const unauthorized: Parameters<TinyIssuer['answer']>[1] = (_req, res) => {
    res.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"invalid_client"}');
  };
  const halfAnAnswer: Parameters<TinyIssuer['answer']>[1] = (req, res) => {
    res.writeHead(200, { 'content-length': '1000' }).write('{"active":true', () => req.socket.destroy());
  };
});

describe('the cache', () => {
  test('is off by default: a revoked token is refused at the next request', async () => {
    const guard = guardWith();
    await check(guard);
    await check(guard);
    expect(introspectionCount()).toBe(2);
    tiny.answerJson(PATHS.introspection, { active: false });
    expect((await refused(guard, `Bearer ${TOKEN}`)).status).toBe(401);
  });

  test('answers for its time, and a revocation is seen after that', async () => {
    const guard = guardWith({ cacheSeconds: 60 });
    await check(guard);
    tiny.answerJson(PATHS.introspection, { active: false });
    expect((await check(guard)).clientId).toBe('app-a');
    expect(introspectionCount()).toBe(1);
    moveClock(60);
    expect((await refused(guard, `Bearer ${TOKEN}`)).status).toBe(401);
  });

  test('does not outlive the token, however long it may keep answers (RFC 7662 §4)', async () => {
    tiny.answerJson(PATHS.introspection, activeAnswer({ exp: nowSeconds() + 60 }));
    const guard = guardWith({ cacheSeconds: 3600 });
    await check(guard);
    moveClock(60);
    // The clock tolerance would still accept it; only the issuer can say that it is over.
    tiny.answerJson(PATHS.introspection, { active: false });
    expect((await refused(guard, `Bearer ${TOKEN}`)).status).toBe(401);
    expect(introspectionCount()).toBe(2);
  });

  test('keeps active tokens only: a token that becomes active is accepted at once', async () => {
    const guard = guardWith({ cacheSeconds: 3600 });
    tiny.answerJson(PATHS.introspection, { active: false });
    await refused(guard, `Bearer ${TOKEN}`);
    tiny.answer(PATHS.introspection, (_req, res) => void res.writeHead(500).end());
    await refused(guard, `Bearer ${TOKEN}`);
    tiny.answerJson(PATHS.introspection, activeAnswer());
    expect((await check(guard)).clientId).toBe('app-a');
    expect(introspectionCount()).toBe(3);
  });

  test('never returns the response for another token', async () => {
    const guard = guardWith({ cacheSeconds: 3600 });
    await check(guard, 'good');
    tiny.answerJson(PATHS.introspection, { active: false });
    for (const token of ['Good', 'good.', 'goo', 'good=']) {
      expect((await refused(guard, `Bearer ${token}`)).status).toBe(401);
    }
  });

  test('does not skip the other checks: scopes and allow-list are checked every time', async () => {
    let allowed = ['app-a'];
    const guard = guardWith({ cacheSeconds: 3600 }, { clients: () => allowed });
    await check(guard);
    expect((await refused(guard, `Bearer ${TOKEN}`, { scopes: ['orders:delete'] })).code).toBe('insufficient_scope');
    allowed = [];
    expect((await refused(guard, `Bearer ${TOKEN}`)).code).toBe('client_not_allowed');
    expect(introspectionCount()).toBe(1);
  });

  test('gives every request a copy: a handler that changes the claims does not change the cache', async () => {
    const guard = guardWith({ cacheSeconds: 3600 });
    for (let i = 0; i < 2; i++) {
      const { claims } = await check(guard);
      Object.assign(claims, { client_id: 'app-b', azp: 'app-b', aud: 'https://elsewhere.example.com' });
    }
    expect((await check(guard)).clientId).toBe('app-a');
  });

  test('is bounded: the oldest response is evicted', () => {
    const cache = createIntrospectionCache(60, 2);
    const answer = { exp: nowSeconds() + 60 };
    for (const token of ['one', 'two', 'one', 'three']) cache.insert(token, answer);
    expect(cache.find('two')).toBeUndefined();
    expect(cache.find('one')).toEqual(answer);
    expect(cache.find('three')).toEqual(answer);
  });

  test('keeps no response without an expiry', () => {
    const cache = createIntrospectionCache(60);
    cache.insert('token', { active: true });
    expect(cache.find('token')).toBeUndefined();
  });
});

test('twenty concurrent requests share one discovery', async () => {
  tiny.answer(PATHS.introspection, (_req, res) => sendJson(res, activeAnswer()));
  const guard = guardWith();
  await Promise.all(Array.from({ length: 20 }, () => check(guard)));
  expect(tiny.countRequests(PATHS.discovery)).toBe(1);
  expect(introspectionCount()).toBe(20);
});
