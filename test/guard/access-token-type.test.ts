// Which JWTs of the issuer pass as access tokens. What an attacker would gain: apps, browsers and logs have ID tokens, logout tokens
// and signed answers, which are signed with the same keys. Here each is made as dangerous as it can be: for this API, of an allowed client.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import { type AccessTokenType, createGuard, type GuardOptions } from '../../src/guard/index.ts';
import { refused } from './refused.ts';
import { AUDIENCE, nowSeconds, sign, startTinyIssuer, type TinyIssuer, tokenClaims } from './tiny-issuer.ts';

let tiny: TinyIssuer;
beforeAll(async () => {
  tiny = await startTinyIssuer();
});
afterAll(() => tiny.close());

function guardWith(options: Partial<GuardOptions> = {}) {
  return createGuard({ issuer: tiny.issuer, audience: AUDIENCE, clients: ['app-a'], mode: 'jwt', ...options });
}

const BOTH: readonly AccessTokenType[] = ['at+jwt', 'JWT'];
const GENERAL: readonly AccessTokenType[] = ['JWT'];

async function descriptionFor(token: string, options: Partial<GuardOptions>): Promise<string> {
  const refusal = await refused(guardWith(options), `Bearer ${token}`);
  expect(refusal).toMatchObject({ status: 401, code: 'invalid_token' });
  expect(refusal.headers['WWW-Authenticate']).toContain(`error_description="${refusal.body.error_description}"`);
  return refusal.body.error_description;
}

describe('an access token of the type JWT', () => {
  test('is accepted only by an API that is told to', async () => {
    const token = await tiny.issueJwt({}, { typ: 'JWT' });
    for (const types of [BOTH, GENERAL]) {
      expect((await guardWith({ types }).check(`Bearer ${token}`)).clientId).toBe('app-a');
    }
    expect(await descriptionFor(token, {})).toBe(
      'this API accepts JWTs of the type at+jwt (option types of its guard)',
    );
    const at = await tiny.issueJwt();
    expect((await guardWith({ types: BOTH }).check(`Bearer ${at}`)).clientId).toBe('app-a');
    expect(await descriptionFor(at, { types: GENERAL })).toContain('of the type JWT ');
  });

  test.each(['jwt', 'application/jwt', 'application/JWT'])('may be spelled %s (RFC 7515 §4.1.9)', async (typ) => {
    const token = await tiny.issueJwt({}, { typ });
    expect((await guardWith({ types: BOTH }).check(`Bearer ${token}`)).clientId).toBe('app-a');
  });

  test.each(['client_id', 'azp', 'jti'])('must have %s', async (name) => {
    for (const value of [undefined, '', 7, ['app-a']]) {
      const token = await tiny.issueJwt({ [name]: value }, { typ: 'JWT' });
      expect(await refused(guardWith({ types: BOTH }), `Bearer ${token}`)).toMatchObject({ code: 'invalid_token' });
    }
  });

  test.each(['nonce', 'at_hash', 'c_hash', 's_hash', 'sid', 'events'])('must not have %s', async (name) => {
    for (const value of ['x', '', null, {}]) {
      const token = await tiny.issueJwt({ [name]: value }, { typ: 'JWT' });
      expect(await refused(guardWith({ types: BOTH }), `Bearer ${token}`)).toMatchObject({ code: 'invalid_token' });
    }
  });

  test.each([undefined, '', 'id+jwt', 'jwt+at', 'application/json', 'JOSE'])('has no other typ: %s', async (typ) => {
    const token = await tiny.issueJwt({}, { typ });
    for (const types of [undefined, BOTH, GENERAL]) {
      const options = types === undefined ? {} : { types };
      expect(await refused(guardWith(options), `Bearer ${token}`)).toMatchObject({ code: 'invalid_token' });
    }
  });

  test.each<[string, unknown]>([
    ['none', []],
    ['another', ['logout+jwt']],
    ['a string', 'at+jwt'],
    ['one that is not text', [undefined]],
  ])('the option refuses %s', (_, types) => {
    expect(() => guardWith({ types: types as AccessTokenType[] })).toThrow(TypeError);
  });
});

/** The claims of the kind; with those that every access token has, where the kind does not say otherwise. */
const KINDS: [kind: string, typ: string | undefined, claims: () => Record<string, unknown>][] = [
  ['an ID token', undefined, () => ({ nonce: 'n', auth_time: nowSeconds(), sid: 's', jti: undefined })],
  ['an ID token without nonce and session', undefined, () => ({ auth_time: nowSeconds(), acr: '0', jti: undefined })],
  ['an ID token of a hybrid flow', undefined, () => ({ at_hash: 'h', c_hash: 'h', s_hash: 'h' })],
  ['a logout token', 'logout+jwt', () => ({ events: { 'http://schemas.openid.net/event/backchannel-logout': {} } })],
  ['a logout token of a session', 'logout+jwt', () => ({ sid: 's', client_id: undefined, azp: undefined })],
  ['a JARM response', undefined, () => ({ code: 'c', state: 's', client_id: undefined, azp: undefined })],
  ['a signed introspection response', 'token-introspection+jwt', () => ({ ...UNNAMED, token_introspection: {} })],
  ['a signed userinfo response', undefined, () => ({ ...UNNAMED, email: 'alice@example.com' })],
  ['a client assertion', 'client-authentication+jwt', () => ({ ...UNNAMED, sub: 'app-a' })],
  ['a request object', 'oauth-authz-req+jwt', () => ({ azp: undefined, response_type: 'code', scope: 'openid' })],
  ['a DPoP proof', 'dpop+jwt', () => ({ ...UNNAMED, htm: 'GET', htu: AUDIENCE })],
  ['a security event', 'secevent+jwt', () => ({ events: { 'https://schemas.openid.net/secevent/risc': {} } })],
];
const UNNAMED = { client_id: undefined, azp: undefined };

describe.each(KINDS)('%s', (_kind, typ, claims) => {
  test.each([
    ['where only at+jwt is accepted', undefined],
    ['where JWT is accepted too', BOTH],
    ['where only JWT is accepted', GENERAL],
  ])('is no access token %s, as it is and with the type JWT (RFC 8725 §3.12)', async (_setting, types) => {
    const guard = guardWith(types === undefined ? {} : { types });
    for (const type of [typ, 'JWT', 'jwt', 'application/jwt']) {
      const token = await tiny.issueJwt(claims(), { typ: type });
      const refusal = await refused(guard, `Bearer ${token}`);
      expect([type, refusal.status, refusal.code]).toEqual([type, 401, 'invalid_token']);
    }
  });
});

describe('the signature algorithm', () => {
  test.each(['RS256', 'PS256', 'Ed25519'])('%s: the 401 says which option names the others', async (alg) => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    tiny.publishedKeys.push({ ...(await exportJWK(publicKey)), kid: alg, alg });
    const token = await sign(privateKey, tokenClaims(tiny.issuer), { alg, kid: alg });
    expect(await descriptionFor(token, {})).toBe(
      'this API accepts access tokens signed with ES256 (option algorithms of its guard)',
    );
    expect(await descriptionFor(token, { algorithms: ['ES256', 'ES512'] })).toContain('signed with ES256 or ES512 ');
    for (const algorithms of [[alg], ['ES256', alg]]) {
      expect((await guardWith({ algorithms }).check(`Bearer ${token}`)).clientId).toBe('app-a');
    }
    expect(await descriptionFor(await tiny.issueJwt(), { algorithms: [alg] })).toContain(`signed with ${alg} `);
  });

  test('what the token says of itself does not get into the answer', async () => {
    const header = Buffer.from(JSON.stringify({ alg: 'x", scope="all', typ: 'at+jwt' })).toString('base64url');
    const description = await descriptionFor(`${header}.e30.AA`, {});
    expect(description).not.toContain('scope');
  });
});
