// The hash that replaces that of a user who does not exist: the time of a wrong password must not reveal which user names exist.

import { expect, test } from '@jest/globals';
import { createPasswordHasher, HASH_OF_UNKNOWN_USER } from '../src/password-hash.ts';
import { createPasswordCheck } from '../src/users/password.ts';

const passwords = createPasswordHasher();

test('an unknown user costs as much as a known one: same function, same memory, same passes', async () => {
  const stored = await passwords.hash('a password');
  const shape = (hash: string) => hash.split('$').map((part, index) => (index > 3 ? part.length : part));
  expect(shape(HASH_OF_UNKNOWN_USER)).toEqual(shape(stored));
});

test('an attacker who found a password of that hash could not sign in with it', async () => {
  const check = createPasswordCheck({ ...passwords, verify: async () => true });
  expect(await check.check('a hash', 'right')).toMatchObject({ isRight: true });
  expect(await check.check(undefined, 'right')).toEqual({ isRight: false });
});

test('a password costs a second computation only where its two forms differ, for an unknown user too', async () => {
  const computed: string[] = [];
  const counting = {
    async verify(_hash: string, password: string) {
      computed.push(password);
      return false;
    },
    async hash(password: string) {
      computed.push(`hash of ${password}`);
      return '';
    },
  };
  const check = createPasswordCheck(counting);
  for (const stored of ['a hash', undefined]) {
    for (const password of ['as typed', 'e\u0301', 'a\u202eb']) await check.check(stored, password);
    expect(computed.splice(0)).toEqual(['as typed', '\u00e9', 'e\u0301', 'a\u202eb']);
  }
});
