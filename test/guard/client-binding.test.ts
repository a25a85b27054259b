// The rule as tables: claims x callers. Whoever changes src/client-binding.ts has to change a row here.

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

/** Ids that a lookup in a plain object would find, or that differ in a way that a sloppy comparison does not see. */
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

  test.each(NOT_IDS.map((value) => [show(value), value]))('issues nothing that is bound to %s', (_, value) => {
    expect(() => bindingClaims(value)).toThrow(BindingError);
  });
});

describe('boundClientId', () => {
  test.each(NOT_IDS.map((value) => [show(value), value]))('finds no owner when a claim is %s', (_, value) => {
    expect(reasonOf({ client_id: value, azp: 'a' })).toBe('missing');
    expect(reasonOf({ client_id: 'a', azp: value })).toBe('missing');
    expect(reasonOf({ client_id: value, azp: value })).toBe('missing');
  });

  test('finds no owner when a claim is absent', () => {
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
  ])('lets nobody claim two clients at once: client_id %j, azp %j', (client_id, azp) => {
    expect(reasonOf({ client_id, azp })).toBe('contradictory');
  });

  test.each(['a', ...ODD_BUT_VALID_IDS])('names the owner %j when both claims do', (clientId) => {
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

  // The token belongs to "owner" in every row.
  test.each<[string, string, boolean, TokenAudience[], boolean]>([
    ['the owner, authenticated', 'owner', true, [], true],
    ['the owner, a public client', 'owner', false, [], true],
    ['the owner, even if the policy row is gone', 'owner', true, [refusing('api')], true],
    ['the API of the audience', 'api', true, [allowing('api')], true],
    ['the API of the second audience', 'api', true, [allowing('other-api'), allowing('api')], true],
    ['the API, without authentication', 'api', false, [allowing('api')], false],
    ['the API that no longer accepts the owner', 'api', true, [refusing('api')], false],
    ['an API that refuses, though another one accepts', 'api', true, [refusing('api'), allowing('other-api')], false],
    ['the API of another audience', 'api', true, [allowing('other-api')], false],
    ['an API without a client of its own', 'api', true, [allowing(undefined)], false],
    ['a stranger', 'stranger', true, [allowing('api')], false],
    ['a stranger, for a token without audience', 'stranger', true, [], false],
    ['nobody', '', true, [allowing('')], false],
    ['a caller named like a prototype member', '__proto__', true, [allowing('api')], false],
    ['a caller whose id is "undefined"', 'undefined', true, [allowing(undefined)], false],
    ['a caller whose id differs in case', 'Owner', true, [allowing('api')], false],
  ])('%s', (_, clientId, isAuthenticated, audiences, expected) => {
    expect(mayIntrospect({ clientId, isAuthenticated }, { boundClientId: 'owner', audiences })).toBe(expected);
  });

  test.each(NOT_IDS.map((value) => [show(value), value as string]))(
    'a token that is bound to %s is shown to nobody, not even to a caller of that name',
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

  test.each(NOT_IDS.map((value) => [show(value), value as string]))('%s revokes nothing', (_, id) => {
    expect(mayRevoke(id, id)).toBe(false);
    expect(mayRevoke(id, 'a')).toBe(false);
    expect(mayRevoke('a', id)).toBe(false);
  });
});

describe('assertBoundTo', () => {
  test.each<[string, string, string[]]>([
    ['the only one on the list', 'a', ['a']],
    ['one of several', 'b', ['a', 'b', 'c']],
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
    ['named like a member of every object', '__proto__', ['a']],
    ['named like a member of every array', 'length', ['a']],
    ['named like the index of an allowed id', '0', ['a']],
    ['that looks like a wildcard', '*', ['a']],
    ['when the list holds something like a wildcard', 'a', ['*', '.*', '']],
  ])('refuses a client %s: %j on %j', (_, clientId, allowed) => {
    const attempt = () => assertBoundTo(bindingClaims(clientId), allowed);
    expect(attempt).toThrow(ClientNotAllowedError);
    expect(attempt).toThrow(expect.objectContaining({ boundClientId: clientId }));
  });

  test('refuses a token without a clear owner as such, whatever is on the list', () => {
    expect(() => assertBoundTo({}, ['a'])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: '', azp: '' }, [''])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: 'a', azp: 'b' }, ['a', 'b'])).toThrow(BindingError);
    expect(() => assertBoundTo({ client_id: ['a'], azp: ['a'] }, ['a'])).toThrow(BindingError);
  });
});

describe('mayDelegate: whether a resource server takes a token that went through these hands', () => {
  test.each<[string, boolean, string[], { maxDepth: number; allowedClientIds: string[] | undefined } | undefined]>([
    ['one exchange where one is allowed', true, ['app', 'a'], { maxDepth: 1, allowedClientIds: undefined }],
    ['two of two, all of them listed', true, ['app', 'a', 'b'], { maxDepth: 2, allowedClientIds: ['b', 'a', 'app'] }],
    ['the same hands again count again', true, ['app', 'a', 'a'], { maxDepth: 2, allowedClientIds: undefined }],
    ['no rule', false, ['app', 'a'], undefined],
    ['one exchange too many', false, ['app', 'a', 'b'], { maxDepth: 1, allowedClientIds: undefined }],
    ['the last is not listed', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: ['app'] }],
    ['the first is not listed', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: ['a'] }],
    ['one in the middle is not listed', false, ['app', 'a', 'b'], { maxDepth: 2, allowedClientIds: ['app', 'b'] }],
    ['nobody is listed', false, ['app', 'a'], { maxDepth: 1, allowedClientIds: [] }],
    ['nobody has exchanged it', false, ['app'], { maxDepth: 1, allowedClientIds: undefined }],
    ['a hand without a name', false, ['app', ''], { maxDepth: 1, allowedClientIds: undefined }],
    ['a hand without a name that is listed', false, ['app', ''], { maxDepth: 1, allowedClientIds: ['app', ''] }],
  ])('%s: %j', (_, expected, chain, rule) => {
    expect(mayDelegate(chain, rule)).toBe(expected);
  });
});

describe('mayActFor: whom a token names as its actor (RFC 8693 §4.4)', () => {
  const actor = { sub: 'a', client_id: 'a' };
  test.each<[string, boolean, unknown]>([
    ['nobody is named', true, undefined],
    ['this client, as it will be written', true, { sub: 'a', client_id: 'a' }],
    ['this client, by one name', true, { client_id: 'a' }],
    ['another client', false, { sub: 'b', client_id: 'b' }],
    ['two different ones', false, { sub: 'a', client_id: 'b' }],
    ['somebody of the same name at another server', false, { iss: 'https://other.example', sub: 'a' }],
    ['by a name of every object', false, { constructor: 'a' }],
    ['nobody, in an object', false, {}],
    ['nothing that is an object', false, null],
    ['a bare name', false, 'a'],
    ['a list', false, ['a']],
  ])('%s: %j', (_, expected, mayAct) => {
    expect(mayActFor(mayAct, actor)).toBe(expected);
  });
});
