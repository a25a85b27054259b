// What LANYARD_SECRET_KEY protects: a copy of the database without it gives nobody a signing key.

import { describe, expect, test } from '@jest/globals';
import { deriveKeys, open, seal } from '../../src/keys/seal.ts';

const { sealingKey } = deriveKeys('a secret key that is long enough for one');
const SECRET = '{"kty":"EC","d":"the private part"}';

describe('a seal', () => {
  test('opens with its key and under its name', () => {
    expect(open(sealingKey, 'key one', seal(sealingKey, 'key one', SECRET))).toBe(SECRET);
    expect(open(sealingKey, '', seal(sealingKey, '', ''))).toBe('');
  });

  test('shows nothing of what it holds, and never looks the same twice', () => {
    const [one, two] = [seal(sealingKey, 'key one', SECRET), seal(sealingKey, 'key one', SECRET)];
    expect(one).not.toBe(two);
    const plain = one.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'));
    expect(plain.join('')).not.toMatch(/private|kty|"d"/);
  });

  test('does not open with another secret key', () => {
    const other = deriveKeys('a secret key that is long enough for one.').sealingKey;
    expect(() => open(other, 'key one', seal(sealingKey, 'key one', SECRET))).toThrow();
  });

  test('does not open under another name: a key cannot be put in the place of another', () => {
    expect(() => open(sealingKey, 'key two', seal(sealingKey, 'key one', SECRET))).toThrow();
  });

  test('does not open when any one bit of nonce, text or tag has changed', () => {
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

  test('with a tag that was cut short, where guessing it would be easy, does not open (NIST SP 800-38D §5.2.1.2)', () => {
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

  test.each(['', 'v1', 'v1..', 'v1...', 'v2.a.b.c', 'nonsense'])('that is none does not open: "%s"', (sealed) => {
    expect(() => open(sealingKey, 'key one', sealed)).toThrow();
  });
});

test('the keys of one secret for different purposes have nothing to do with one another', () => {
  const keys = deriveKeys('a secret key that is long enough for one');
  expect(keys.sealingKey).toHaveLength(32);
  expect(keys.cookieKeys).not.toContain(keys.sealingKey.toString('base64url'));
  expect(deriveKeys('a secret key that is long enough for one')).toEqual(keys);
  expect(deriveKeys('another secret key, long enough as well').cookieKeys).not.toEqual(keys.cookieKeys);
});
