// Sealing with LANYARD_SECRET_KEY: a copy of the database without it gives an attacker no signing
// key.

import { describe, expect, test } from '@jest/globals';
import { deriveKeys, open, openWithOneOf, seal } from '../../src/keys/seal.ts';

const [sealingKey] = deriveKeys('a secret key that is long enough for one').sealingKeys;
const SECRET = '{"kty":"EC","d":"the private part"}';

describe('a seal', () => {
  test('is decrypted with its key and its name', () => {
    expect(open(sealingKey, 'key one', seal(sealingKey, 'key one', SECRET))).toBe(SECRET);
    expect(open(sealingKey, '', seal(sealingKey, '', ''))).toBe('');
  });

  test('does not contain the plaintext, and is different each time', () => {
    const [one, two] = [seal(sealingKey, 'key one', SECRET), seal(sealingKey, 'key one', SECRET)];
    expect(one).not.toBe(two);
    const plain = one.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'));
    expect(plain.join('')).not.toMatch(/private|kty|"d"/);
  });

  test('cannot be decrypted with another secret key', () => {
    const other = deriveKeys('a secret key that is long enough for one.').sealingKeys[0];
    expect(() => open(other, 'key one', seal(sealingKey, 'key one', SECRET))).toThrow();
  });

  test('cannot be decrypted with another name: a stored key cannot be replaced by another one', () => {
    expect(() => open(sealingKey, 'key two', seal(sealingKey, 'key one', SECRET))).toThrow();
  });

  test('cannot be decrypted when one bit of nonce, ciphertext or tag has changed', () => {
    const [format, ...parts] = seal(sealingKey, 'key one', SECRET).split('.') as [string, string, string, string];
    const bytes = parts.map((part) => Buffer.from(part, 'base64url'));
    for (const [index, part] of bytes.entries()) {
      for (let bit = 0; bit < part.length * 8; bit++) {
        const changed = Buffer.from(part);
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
        const sealed = [format, ...bytes.with(index, changed).map((piece) => piece.toString('base64url'))].join('.');
        expect(() => open(sealingKey, 'key one', sealed)).toThrow();
      }
    }
  });

  test('cannot be decrypted with a truncated tag, which could be guessed (NIST SP 800-38D §5.2.1.2)', () => {
    const [format, nonce, text, tag] = seal(sealingKey, 'key one', SECRET).split('.') as [
      string,
      string,
      string,
      string,
    ];
    for (const length of [0, 1, 4, 12, 15]) {
      const short = Buffer.from(tag, 'base64url').subarray(0, length).toString('base64url');
      expect(() => open(sealingKey, 'key one', [format, nonce, text, short].join('.'))).toThrow();
    }
  });

  test.each(['', 'v1', 'v1..', 'v1...', 'v2.a.b.c', 'malformed'])('is refused when it is malformed: "%s"', (sealed) => {
    expect(() => open(sealingKey, 'key one', sealed)).toThrow();
  });
});

test('the keys of one secret for different purposes are independent', () => {
  const { sealingKeys, cookieKeys } = deriveKeys('a secret key that is long enough for one');
  expect(sealingKeys).toHaveLength(1);
  expect(sealingKeys[0]).toHaveLength(32);
  expect(cookieKeys(0)).not.toContain(sealingKeys[0].toString('base64url'));
  expect(cookieKeys(0)).not.toEqual(cookieKeys(1));
  expect(deriveKeys('a secret key that is long enough for one').cookieKeys(7)).toEqual(cookieKeys(7));
  expect(deriveKeys('another secret key, long enough as well').cookieKeys(0)).not.toEqual(cookieKeys(0));
});

test('the previous secret key decrypts, but does not encrypt', () => {
  const [before] = deriveKeys('a secret key that is long enough for one').sealingKeys;
  const both = deriveKeys('another secret key, long enough as well', 'a secret key that is long enough for one');
  expect(openWithOneOf(both.sealingKeys, 'key one', seal(before, 'key one', SECRET))).toBe(SECRET);
  expect(() => open(before, 'key one', seal(both.sealingKeys[0], 'key one', SECRET))).toThrow();
  expect(() => openWithOneOf(both.sealingKeys, 'key two', seal(before, 'key one', SECRET))).toThrow();
});
