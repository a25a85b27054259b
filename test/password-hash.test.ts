// The hash that stands in for that of a user who does not exist: the time of a wrong password must not tell which names exist.

import { expect, test } from '@jest/globals';
import { createPasswordHasher, HASH_OF_NOBODY } from '../src/password-hash.ts';
import { createPasswordCheck } from '../src/users/password.ts';

const passwords = createPasswordHasher();

test('nobody costs as much as anybody: same function, same memory, same passes', async () => {
  const ofSomebody = await passwords.hash('a password');
  const shape = (hash: string) => hash.split('$').map((part, index) => (index > 3 ? part.length : part));
  expect(shape(HASH_OF_NOBODY)).toEqual(shape(ofSomebody));
});

test('even whoever guessed its password would not be let in', async () => {
  const check = createPasswordCheck({ ...passwords, verify: async () => true });
  expect(await check.isRight('a hash', 'right')).toBe(true);
  expect(await check.isRight(undefined, 'right')).toBe(false);
});
