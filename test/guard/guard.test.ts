// What every mode has in common: the header, the allow-list, the scopes, the refusals, the options.
// These tests use the in-process mode, like Lanyard's admin API.

import { describe, expect, test } from '@jest/globals';
import { createGuard, type GuardOptions, GuardRefusal } from '../../src/guard/index.ts';
import { refused } from './refused.ts';
import { AUDIENCE, tokenClaims } from './tiny-issuer.ts';

const ISSUER = 'https://id.example.com';

function guardWith(options: Partial<GuardOptions> = {}, claims: Record<string, unknown> = {}) {
  return createGuard({
    issuer: ISSUER,
    audience: AUDIENCE,
    clients: ['app-a'],
    mode: { verify: async (token) => (token === 'good' ? { ...tokenClaims(ISSUER), ...claims } : undefined) },
    ...options,
  });
}

describe('the Authorization header', () => {
  test.each([undefined, '', ' ', 'Basic YTpi', 'DPoPgood', 'Bearertoken', 'good', 'Token Bearer good'])(
    '%j is no token: 401 without an error attribute (RFC 6750 §3.1)',
    async (header) => {
      const refusal = await refused(guardWith({ realm: 'orders' }), header);
      expect(refusal).toMatchObject({ status: 401, code: 'missing_token' });
      expect(refusal.headers['WWW-Authenticate']).toBe('Bearer realm="orders"');
      expect(refusal.body).toEqual({ error: 'missing_token', error_description: expect.any(String) });
    },
  );

  test('an empty list of headers is no token', async () => {
    expect((await refused(guardWith(), [])).code).toBe('missing_token');
  });

  test.each(['Bearer good', 'bearer good', 'BEARER good', 'Bearer   good', ' Bearer good '])(
    '%j carries a token: the scheme is not case-sensitive (RFC 9110 §11.1)',
    async (header) => {
      expect((await guardWith().check(header)).clientId).toBe('app-a');
      expect((await guardWith().check([header])).clientId).toBe('app-a');
    },
  );

  test.each<[string, string | string[]]>([
    ['twice: a gateway may have checked the other one', ['Bearer good', 'Bearer bad']],
    ['twice the same', ['Bearer good', 'Bearer good']],
    ['of two schemes', ['Basic YTpi', 'Bearer good']],
    ['joined by a proxy', 'Bearer good, Bearer bad'],
    ['with two tokens', 'Bearer good bad'],
    ['without a token', 'Bearer'],
    ['with spaces for a token', 'Bearer    '],
  ])('%s is answered with 400 invalid_request (RFC 6750 §3.1)', async (_, header) => {
    const refusal = await refused(guardWith(), header);
    expect(refusal).toMatchObject({ status: 400, code: 'invalid_request', body: { error: 'invalid_request' } });
    expect(refusal.headers['WWW-Authenticate']).toContain('error="invalid_request"');
  });

  test.each(['"good"', 'göod', 'good;', '=good', 'go=od', 'good\0'])(
    'the token %j has invalid characters (RFC 6750 §2.1): 401',
    async (token) => {
      expect(await refused(guardWith(), `Bearer ${token}`)).toMatchObject({ status: 401, code: 'invalid_token' });
    },
  );

  test('a huge token is refused before it is verified', async () => {
    let verifications = 0;
    const verify = async () => {
      verifications += 1;
      return tokenClaims(ISSUER);
    };
    const guard = guardWith({ mode: { verify } });
    for (const size of [16 * 1024 + 1, 10_000_000]) {
      expect(await refused(guard, `Bearer ${'a'.repeat(size)}`)).toMatchObject({ status: 401, code: 'invalid_token' });
    }
    expect(verifications).toBe(0);
    expect((await guard.check(`Bearer ${'a'.repeat(16 * 1024)}`)).clientId).toBe('app-a');
  });
});

describe('the allow-list', () => {
  test('denies by default: an empty list refuses every client', async () => {
    expect(await refused(guardWith({ clients: [] }), 'Bearer good')).toMatchObject({
      status: 403,
      code: 'client_not_allowed',
    });
  });

  test('holds ids, not patterns or parts of ids', async () => {
    for (const clients of [['*'], ['app'], ['app-a-2'], ['APP-A'], [' app-a']]) {
      expect((await refused(guardWith({ clients }), 'Bearer good')).code).toBe('client_not_allowed');
    }
  });

  test('may be a function, which is called for every request', async () => {
    let clients = ['app-a'];
    const guard = guardWith({ clients: async () => clients });
    expect((await guard.check('Bearer good')).clientId).toBe('app-a');
    clients = ['app-b'];
    expect((await refused(guard, 'Bearer good')).code).toBe('client_not_allowed');
  });

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('database down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('database down'))],
    ['returns undefined', () => undefined],
    ['returns a string, whose includes() would match parts of ids', () => 'app-a'],
    ['returns a set', () => new Set(['app-a'])],
    ['returns a list with undefined', () => ['app-a', undefined]],
  ])('that %s: 503', async (_, clients) => {
    const guard = guardWith({ clients: clients as () => string[] });
    expect(await refused(guard, 'Bearer good')).toMatchObject({ status: 503, code: 'temporarily_unavailable' });
  });

  test('cannot be changed from outside after the guard was created', async () => {
    const clients = ['app-b'];
    const guard = guardWith({ clients });
    clients.push('app-a');
    expect((await refused(guard, 'Bearer good')).code).toBe('client_not_allowed');
  });

  test('of a route can only restrict that of the guard', async () => {
    const guard = guardWith({ clients: ['app-a', 'app-c'] });
    expect((await guard.check('Bearer good', { clients: ['app-a'] })).clientId).toBe('app-a');
    expect((await refused(guard, 'Bearer good', { clients: ['app-c'] })).code).toBe('client_not_allowed');
    expect((await refused(guard, 'Bearer good', { clients: [] })).code).toBe('client_not_allowed');
    const other = guardWith({ clients: ['app-c'] });
    expect((await refused(other, 'Bearer good', { clients: ['app-a'] })).code).toBe('client_not_allowed');
  });

  test.each(['app-a', { includes: () => true }, [1], [''], null])(
    'of a route must be a list, not %j',
    async (clients) => {
      const check = guardWith().check('Bearer good', { clients: clients as never });
      await expect(check).rejects.toThrow(TypeError);
    },
  );
});

describe('scopes', () => {
  test('are required all together, those of the guard and those of the route', async () => {
    const guard = guardWith({ scopes: ['orders:read'] });
    expect((await guard.check('Bearer good')).scopes).toEqual(['orders:read', 'orders:write']);
    await guard.check('Bearer good', { scopes: ['orders:write'] });
    const refusal = await refused(guard, 'Bearer good', { scopes: ['orders:write', 'orders:delete', 'orders:read'] });
    expect(refusal).toMatchObject({ status: 403, code: 'insufficient_scope' });
    expect(refusal.headers['WWW-Authenticate']).toContain('scope="orders:read orders:write orders:delete"');
  });

  test.each([
    ['missing', undefined],
    ['empty', ''],
    ['part of a longer one', 'orders:readonly'],
    ['in another case', 'Orders:Read'],
    ['in a list, contrary to RFC 9068 §2.2.3', ['orders:read']],
    ['separated by commas', 'orders:read,orders:write'],
  ])('a scope that is %s does not count', async (_, scope) => {
    const guard = guardWith({ scopes: ['orders:read'] }, { scope });
    expect((await refused(guard, 'Bearer good')).code).toBe('insufficient_scope');
    expect((await guardWith({}, { scope }).check('Bearer good')).scopes).not.toContain('orders:read');
  });

  test('a client that is not allowed does not learn which scopes are required', async () => {
    const guard = guardWith({ clients: ['app-b'], scopes: ['orders:delete'] });
    const refusal = await refused(guard, 'Bearer good');
    expect(refusal.code).toBe('client_not_allowed');
    expect(JSON.stringify(refusal.headers)).not.toContain('orders:delete');
  });

  test.each(['orders:read', ['orders:read orders:write'], ['"'], [1]])('of a route cannot be %j', async (scopes) => {
    await expect(guardWith().check('Bearer good', { scopes: scopes as never })).rejects.toThrow(TypeError);
  });
});

describe('in-process mode', () => {
  test('an unknown token is invalid', async () => {
    expect(await refused(guardWith(), 'Bearer bad')).toMatchObject({ status: 401, code: 'invalid_token' });
  });

  test.each<[string, Record<string, unknown>]>([
    ['for another API', { aud: 'https://billing.example.com' }],
    ['of another issuer', { iss: 'https://evil.example.com' }],
    ['that has expired', { exp: 1 }],
    ['that names two clients', { azp: 'app-b' }],
  ])('a token %s is invalid, although the verifier accepts it', async (_, claims) => {
    expect(await refused(guardWith({}, claims), 'Bearer good')).toMatchObject({ status: 401, code: 'invalid_token' });
  });

  test('a verifier that throws: 503, and the reason is logged', async () => {
    const cause = new Error('connection refused');
    const refusals: GuardRefusal[] = [];
    const guard = guardWith({
      mode: { verify: () => Promise.reject(cause) },
      onRefusal: (refusal) => refusals.push(refusal),
    });
    const refusal = await refused(guard, 'Bearer good');
    expect(refusal).toMatchObject({ status: 503, code: 'temporarily_unavailable', cause });
    expect(JSON.stringify(refusal.body)).not.toContain('connection refused');
    expect(refusals).toEqual([refusal]);
  });
});

describe('a refusal', () => {
  test('is complete: status, headers that prevent caching, and JSON body', async () => {
    const refusal = await refused(guardWith({ realm: 'orders' }), 'Bearer bad');
    expect(refusal).toBeInstanceOf(GuardRefusal);
    const description = refusal.body.error_description;
    expect(refusal.headers).toEqual({
      'Cache-Control': 'no-store',
      'WWW-Authenticate': `Bearer realm="orders", error="invalid_token", error_description="${description}"`,
    });
    expect(refusal.body.error).toBe('invalid_token');
    // RFC 6750 §3: the characters that error_description may have.
    expect(description).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
  });

  test('has the audience as realm by default', async () => {
    const { headers } = await refused(guardWith(), undefined);
    expect(headers['WWW-Authenticate']).toBe(`Bearer realm="${AUDIENCE}"`);
  });

  test.each([
    ['quotes', 'a"b\\c', 'a\\"b\\\\c'],
    ['line breaks, which would start another header', 'a\r\nSet-Cookie: b', 'a??Set-Cookie: b'],
    ['other letters', 'Bestellübersicht', 'Bestell?bersicht'],
  ])('has a valid header when the realm has %s', async (_, realm, quoted) => {
    const { headers } = await refused(guardWith({ realm }), undefined);
    expect(headers['WWW-Authenticate']).toBe(`Bearer realm="${quoted}"`);
    expect(() => new Headers(headers)).not.toThrow();
  });
});

describe('createGuard throws a TypeError when', () => {
  const jwt: GuardOptions = { issuer: ISSUER, audience: AUDIENCE, clients: ['app-a'], mode: 'jwt' };
  const introspection: GuardOptions = {
    ...jwt,
    mode: 'introspection',
    introspection: { clientId: 'orders-api', clientSecret: 'secret' },
  };
  const introspectionWith = (change: object) => ({
    ...introspection,
    introspection: { clientId: 'orders-api', clientSecret: 'secret', ...change },
  });

  test.each<[string, unknown]>([
    ['the issuer is missing', { ...jwt, issuer: undefined }],
    ['the issuer is no URL', { ...jwt, issuer: 'id.example.com' }],
    ['the issuer is no http(s) URL', { ...jwt, issuer: 'file:///etc/passwd' }],
    ['the audience is missing', { ...jwt, audience: undefined }],
    ['the audience is empty', { ...jwt, audience: '' }],
    ['the list of audiences is empty', { ...jwt, audience: [] }],
    ['the allow-list is missing', { ...jwt, clients: undefined }],
    ['the allow-list is a string', { ...jwt, clients: 'app-a' }],
    ['the allow-list is a set', { ...jwt, clients: new Set(['app-a']) }],
    ['the allow-list contains an empty id', { ...jwt, clients: ['app-a', ''] }],
    ['scopes are a string', { ...jwt, scopes: 'orders:read' }],
    ['two scopes are in one element', { ...jwt, scopes: ['orders:read orders:write'] }],
    ['the mode is missing', { ...jwt, mode: undefined }],
    ['the mode is unknown', { ...jwt, mode: 'none' }],
    ['the mode is null', { ...jwt, mode: null }],
    ['the verifier is no function', { ...jwt, mode: { verify: true } }],
    ['introspection has no credentials', { ...introspection, introspection: undefined }],
    ['introspection has no secret', introspectionWith({ clientSecret: '' })],
    ['introspection has no client', introspectionWith({ clientId: undefined })],
    ['the introspection endpoint is no URL', introspectionWith({ endpoint: '/introspect' })],
    ['the cache time is negative', introspectionWith({ cacheSeconds: -1 })],
    ['the cache time is infinite', introspectionWith({ cacheSeconds: Infinity })],
    ['the timeout is 0', introspectionWith({ timeoutMs: 0 })],
    ['an algorithm is symmetric', { ...jwt, algorithms: ['ES256', 'HS256'] }],
    ['an algorithm is none', { ...jwt, algorithms: ['none'] }],
    ['an algorithm is unknown', { ...jwt, algorithms: ['es256'] }],
    ['there is no algorithm', { ...jwt, algorithms: [] }],
    ['the tolerance is negative', { ...jwt, clockToleranceSeconds: -1 }],
    ['the tolerance is a string', { ...jwt, clockToleranceSeconds: '5' }],
    ['the tolerance is no number', { ...jwt, clockToleranceSeconds: Number.NaN }],
    ['the cooldown is negative', { ...jwt, jwksCooldownSeconds: -1 }],
    ['the key cache is no number', { ...jwt, jwksCacheSeconds: Number.NaN }],
    ['the jwksUri is no URL', { ...jwt, jwksUri: 'jwks' }],
  ])('%s', (_, options) => {
    expect(() => createGuard(options as GuardOptions)).toThrow(TypeError);
  });

  test('but not for valid options', () => {
    expect(() => createGuard(jwt)).not.toThrow();
    expect(() => createGuard({ ...jwt, algorithms: ['ES256', 'RS256', 'PS384', 'EdDSA', 'Ed25519'] })).not.toThrow();
    expect(() => createGuard(introspection)).not.toThrow();
  });
});
