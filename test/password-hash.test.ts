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
  expect(await check.isRight('a hash', 'right')).toBe(true);
  expect(await check.isRight(undefined, 'right')).toBe(false);
});
