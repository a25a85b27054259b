// The binding rule as tables of claims and callers.

import { describe, expect, test } from '@jest/globals';
import {
  assertBoundTo,
  BindingError,
  bindingClaims,
  boundClientId,
  ClientNotAllowedError,
  mayActFor,
  mayDelegate,
  mayIntrospect,
  mayRevoke,
  type TokenAudience,
} from '../../src/client-binding.ts';

/** Ids that a lookup in a plain object would find, or that an inexact comparison would confuse. */
const ODD_BUT_VALID_IDS = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '0',
  'null',
  ' ',
  'ünï',
  'a b',
  'A',
];
const NOT_IDS: unknown[] = [undefined, null, '', 0, 1, true, false, {}, [], ['a'], Symbol('a'), () => 'a', Object('a')];

function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
}

function reasonOf(claims: object): string {
  try {
    return `bound to ${boundClientId(claims)}`;
  } catch (error) {
    if (error instanceof BindingError) return error.reason;
    throw error;
  }
}

describe('bindingClaims', () => {
  test.each(['a', ...ODD_BUT_VALID_IDS])('binds a token to %j with two equal claims, and only those', (clientId) => {
    expect(bindingClaims(clientId)).toStrictEqual({ client_id: clientId, azp: clientId });
    expect(boundClientId(bindingClaims(clientId))).toBe(clientId);
  });

  test.each(NOT_IDS.map((value) => [show(value), value]))('throws for %s', (_, value) => {
    expect(() => bindingClaims(value)).toThrow(BindingError);
  });
});

describe('boundClientId', () => {
  test.each(NOT_IDS.map((value) => [show(value), value]))('finds no client when a claim is %s', (_, value) => {
    expect(reasonOf({ client_id: value, azp: 'a' })).toBe('missing');
    expect(reasonOf({ client_id: 'a', azp: value })).toBe('missing');
    expect(reasonOf({ client_id: value, azp: value })).toBe('missing');
  });

  test('finds no client when a claim is absent', () => {
    expect(reasonOf({})).toBe('missing');
    expect(reasonOf({ client_id: 'a' })).toBe('missing');
    expect(reasonOf({ azp: 'a' })).toBe('missing');
  });

  test.each([
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'A'],
    ['a', 'a '],
    ['a', 'a\0'],
    ['é', 'e\u0301'],
    ['1', '01'],
    ['__proto__', 'constructor'],
  ])('refuses two different clients: client_id %j, azp %j', (client_id, azp) => {
    expect(reasonOf({ client_id, azp })).toBe('contradictory');
  });

  test.each(['a', ...ODD_BUT_VALID_IDS])('returns %j when both claims have it', (clientId) => {
    expect(reasonOf({ client_id: clientId, azp: clientId, sub: 'b', aud: 'c' })).toBe(`bound to ${clientId}`);
  });
});

describe('mayIntrospect', () => {
  const allowing = (introspectionClientId: string | undefined): TokenAudience => ({
    introspectionClientId,
    allowsBoundClient: true,
  });
  const refusing = (introspectionClientId: string): TokenAudience => ({
    introspectionClientId,
    allowsBoundClient: false,
  });

  // The token was issued to "owner" in every row.
  test.each<[string, string, boolean, TokenAudience[], boolean]>([
    ['the owner, authenticated', 'owner', true, [], true],
    ['the owner, without authentication', 'owner', false, [], false],
    ['the owner, even if the policy row was removed', 'owner', true, [refusing('api')], true],
    ['the API of the audience', 'api', true, [allowing('api')], true],
    ['the API of the second audience', 'api', true, [allowing('other-api'), allowing('api')], true],
    ['the API, without authentication', 'api', false, [allowing('api')], false],
    ['the API that no longer accepts the owner', 'api', true, [refusing('api')], false],
    ['an API that refuses, though another one accepts', 'api', true, [refusing('api'), allowing('other-api')], false],
    ['the API of another audience', 'api', true, [allowing('other-api')], false],
    ['an API without an introspection client', 'api', true, [allowing(undefined)], false],
    ['an unrelated client', 'unrelated', true, [allowing('api')], false],
    ['an unrelated client, for a token without audience', 'unrelated', true, [], false],
    ['an empty id', '', true, [allowing('')], false],
    ['a caller named like a prototype member', '__proto__', true, [allowing('api')], false],
    ['a caller whose id is "undefined"', 'undefined', true, [allowing(undefined)], false],
    ['a caller whose id differs in case', 'Owner', true, [allowing('api')], false],
  ])('%s', (_, clientId, isAuthenticated, audiences, expected) => {
    expect(mayIntrospect({ clientId, isAuthenticated }, { boundClientId: 'owner', audiences })).toBe(expected);
  });

  test.each(NOT_IDS.map((value) => [show(value), value as string]))(
    'a token that is bound to %s cannot be introspected, not even by a caller with that id',
    (_, id) => {
      const caller = { clientId: id, isAuthenticated: true };
      expect(mayIntrospect(caller, { boundClientId: id, audiences: [allowing(id)] })).toBe(false);
      expect(mayIntrospect(caller, { boundClientId: 'owner', audiences: [allowing(id)] })).toBe(false);
      const api = { clientId: 'api', isAuthenticated: true };
      expect(mayIntrospect(api, { boundClientId: id, audiences: [allowing('api')] })).toBe(false);
    },
  );
});

describe('mayRevoke', () => {
  const ids = ['a', 'b', ...ODD_BUT_VALID_IDS];
  test.each(ids.flatMap((caller) => ids.map((owner) => [caller, owner] as const)))(
    'caller %j, token of %j',
    (caller, owner) => {
      expect(mayRevoke(caller, owner)).toBe(Object.is(caller, owner));
    },
  );

  test.each(NOT_IDS.map((value) => [show(value), value as string]))('%s may revoke no token', (_, id) => {
    expect(mayRevoke(id, id)).toBe(false);
    expect(mayRevoke(id, 'a')).toBe(false);
    expect(mayRevoke('a', id)).toBe(false);
  });
});

describe('assertBoundTo', () => {
  test.each<[string, string, string[]]>([
    ['the only client on the list', 'a', ['a']],
    ['one of several clients', 'b', ['a', 'b', 'c']],
    ...ODD_BUT_VALID_IDS.map((id): [string, string, string[]] => ['an odd but valid id', id, ['a', id]]),
  ])('accepts %s: %j on %j', (_, clientId, allowed) => {
    expect(assertBoundTo(bindingClaims(clientId), allowed)).toBe(clientId);
  });

  test.each<[string, string, string[]]>([
    ['with an empty list', 'a', []],
    ['that is not on the list', 'a', ['b', 'c']],
    ['that is a part of an allowed id', 'app', ['app-a']],
    ['that an allowed id is a part of', 'app-a', ['app']],
    ['that differs in case', 'A', ['a']],
    ['that differs by a space', 'a ', ['a']],
    ['with the name of a member of every object', '__proto__', ['a']],
    ['with the name of a member of every array', 'length', ['a']],
    ['with the index of an allowed id', '0', ['a']],
    ['that looks like a wildcard', '*', ['a']],
    ['when the list contains wildcards', 'a', ['*', '.*', '']],
  ])('refuses a client %s: %j on %j', (_, clientId, allowed) => {
    const attempt = () => assertBoundTo(bindingClaims(clientId), allowed);
    expect(attempt).toThrow(ClientNotAllowedError);
    expect(attempt).toThrow(expect.objectContaining({ boundClientId: clientId }));
  });

  test('refuses a token that does not name one client, whatever is on the list', () => {
    expect(() => assertBoundTo({}, ['a'])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: '', azp: '' }, [''])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: 'a', azp: 'b' }, ['a', 'b'])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: ['a'], azp: ['a'] }, ['a'])).toThrow(BindingError);
  });
});

describe('mayDelegate: whether a resource server accepts a delegation chain', () => {
  test.each<[string, boolean, string[], { maxDepth: number; allowedClientIds: string[] | undefined } | undefined]>([
    ['one exchange where one is allowed', true, ['app', 'a'], { maxDepth: 1, allowedClientIds: undefined }],
    ['two of two, all of them listed', true, ['app', 'a', 'b'], { maxDepth: 2, allowedClientIds: ['b', 'a', 'app'] }],
    ['one client twice counts as two exchanges', true, ['app', 'a', 'a'], { maxDepth: 2, allowedClientIds: undefined }],
    ['no rule', false, ['app', 'a'], undefined],
    ['one exchange too many', false, ['app', 'a', 'b'], { maxDepth: 1, allowedClientIds: undefined }],
    ['the last client is not listed', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: ['app'] }],
    ['the first client is not listed', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: ['a'] }],
    ['a client in the middle is not listed', false, ['app', 'a', 'b'], { maxDepth: 2, allowedClientIds: ['app', 'b'] }],
    ['an empty list', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: [] }],
    ['no exchange', false, ['app'], { maxDepth: 1, allowedClientIds: undefined }],
    ['an empty client id', false, ['app', ''], { maxDepth: 1, allowedClientIds: undefined }],
    ['an empty client id that is listed', false, ['app', ''], { maxDepth: 1, allowedClientIds: ['app', ''] }],
  ])('%s: %j', (_, expected, chain, rule) => {
    expect(mayDelegate(chain, rule)).toBe(expected);
  });
});

describe('mayActFor: the may_act claim (RFC 8693 §4.4)', () => {
  const actor = { sub: 'a', client_id: 'a' };
  test.each<[string, boolean, unknown]>([
    ['no claim', true, undefined],
    ['this client, by sub and client_id', true, { sub: 'a', client_id: 'a' }],
    ['this client, by client_id', true, { client_id: 'a' }],
    ['another client', false, { sub: 'b', client_id: 'b' }],
    ['two different clients', false, { sub: 'a', client_id: 'b' }],
    ['the same sub at another issuer', false, { iss: 'https://other.example', sub: 'a' }],
    ['a member that every object has', false, { constructor: 'a' }],
    ['an empty object', false, {}],
    ['null', false, null],
    ['a string', false, 'a'],
    ['a list', false, ['a']],
  ])('%s: %j', (_, expected, mayAct) => {
    expect(mayActFor(mayAct, actor)).toBe(expected);
  });
});
