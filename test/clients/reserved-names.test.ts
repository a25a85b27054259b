// Which names software may not give itself: those that people would take for this server.

import { expect, test } from '@jest/globals';
import { reservedNames } from '../../src/clients/registration/reserved-names.ts';

const findReservedWord = reservedNames('https://id.example.com:8443');

test.each([
  ['LANYARD', 'Lanyard'],
  ['MyLanyardApp', 'Lanyard'],
  ['L-a-n-y-a-r-d', 'Lanyard'],
  ['Lanyard™', 'Lanyard'],
  ['1anyard', 'Lanyard'],
  ['Admin!', 'admin'],
  ['@dm!n', 'admin'],
  ['SuperAdmin', 'admin'],
  ['\u0430dm\u0456n', 'admin'],
  ['ADM\u0399\u039d', 'admin'],
  ['\u00c1dmin', 'admin'],
  ['adrnin', 'admin'],
  ['\u{1f170}\u{1f173}\u{1f17c}\u{1f178}\u{1f17d}', 'admin'],
  ['The Administration', 'administration'],
  ['Sign in to ID.Example.com', 'id.example.com'],
  ['id example com', 'id.example.com'],
])('%s looks like %s', (name, word) => {
  expect(findReservedWord(name)).toBe(word);
});

test.each(['Badminton Club', 'Administrative Assistant', 'Yardstick', 'Example', 'A B Testing', 'Привет', '天気', ''])(
  '"%s" is free',
  (name) => {
    expect(findReservedWord(name)).toBeUndefined();
  },
);

test('of a short host, a name has to contain it between words: many names have its letters in theirs', () => {
  const find = reservedNames('https://x.com');
  for (const name of ['X.com', 'x com', 'Xcom', 'X.C.O.M', 'Sign in to X.com now'])
    expect([name, find(name)]).toEqual([name, 'x.com']);
  for (const name of ['Flex Company', 'Xcompany', 'Max Community'])
    expect([name, find(name)]).toEqual([name, undefined]);
});

test.each(['http://localhost:3000', 'http://127.0.0.1:3000', 'https://[::1]'])(
  'an issuer of this machine (%s) reserves no host',
  (issuer) => {
    expect(reservedNames(issuer)('localhost 127.0.0.1 ::1')).toBeUndefined();
  },
);
