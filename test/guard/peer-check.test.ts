// Which peers are trusted proxies (guard/peer-check).

import { expect, test } from '@jest/globals';
import { toPeerCheck } from '../../src/guard/peer-check.ts';

test('answers the same however many peers have been asked about, first and later', () => {
  const isTrusted = toPeerCheck(['10.0.0.0/8', '2001:db8::1']);
  const trusted = ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8::1'];
  const others = ['11.0.0.1', '2001:db8::2', '', 'no address', '__proto__'];
  for (let round = 0; round < 2; round++) {
    for (const address of trusted) expect(isTrusted(address)).toBe(true);
    for (const address of others) expect(isTrusted(address)).toBe(false);
    // More of them than are remembered.
    for (let peer = 0; peer < 1_500; peer++) expect(isTrusted(`192.0.${peer >> 8}.${peer & 255}`)).toBe(false);
  }
});
