// The PRECIS profiles of user names and passwords: the examples of RFC 8265, and the rules of RFC 8264, 5892 and 5893 behind them.

import { describe, expect, test } from '@jest/globals';
import { enforcePassword, enforceUsername, foldSearch } from '../../src/users/precis.ts';
import { parseUsername } from '../../src/users/username.ts';

const FAULT = { fault: expect.any(String) };
const key = (name: string) => enforceUsername(name, { isCaseMapped: true });

describe('the examples of RFC 8265', () => {
  test.each([
    ['juliet@example.com', 'juliet@example.com'],
    ['fussball', 'fussball'],
    ['fu\u00dfball', 'fu\u00dfball'],
    ['\u03c0', '\u03c0'],
    ['\u03a3', '\u03c3'],
    ['\u03c3', '\u03c3'],
    ['\u03c2', '\u03c2'],
    // A name of several parts (§3.5); as one part it is refused.
    ['foo bar', 'foo bar'],
  ])('the user name %j', (name, text) => expect(key(name)).toEqual({ text }));

  test.each(['', 'henry\u2163', '\u265a'])('the user name %j is refused', (name) => expect(key(name)).toEqual(FAULT));

  test.each([
    ['correct horse battery staple', 'correct horse battery staple'],
    ['Correct Horse Battery Staple', 'Correct Horse Battery Staple'],
    ['\u03c0\u00df\u00e5', '\u03c0\u00df\u00e5'],
    ['Jack of \u2666s', 'Jack of \u2666s'],
    ['foo\u1680bar', 'foo bar'],
  ])('the password %j', (password, text) => expect(enforcePassword(password)).toEqual({ text }));

  test.each(['', 'my cat is a \tby'])('the password %j is refused', (password) =>
    expect(enforcePassword(password)).toEqual(FAULT),
  );
});

describe('user names that are the same', () => {
  test.each([
    ['case', 'JOS\u00c9', 'jos\u00e9'],
    ['composition', 'jose\u0301', 'jos\u00e9'],
    ['the order of marks', 'a\u0301\u0323', 'a\u0323\u0301'],
    ['a sign for a letter', '\u212b', '\u00e5'],
    ['a letter that is never composed', '\u0958', '\u0915\u093c'],
    ['full width', '\uff21\uff2c\uff29\uff23\uff25', 'alice'],
    ['half width', '\uff76\uff9e', '\u30ac'],
    ['an ideographic space', 'john\u3000doe', 'John Doe'],
    ['a capital with two lower-case letters', '\u0130', 'i\u0307'],
    ['Cherokee capitals', '\u13a0', '\uab70'],
    ['Catalan', 'COL\u00b7LECCI\u00d3', 'col\u00b7lecci\u00f3'],
  ])('by %s', (_by, one, other) => {
    expect(key(one)).toEqual(key(other));
    expect(key(one)).toEqual({ text: expect.any(String) });
  });

  test('are shown as they were written, in one form', () => {
    expect(parseUsername('Jose\u0301 \uff30')).toEqual({ name: 'Jos\u00e9 P', key: 'jos\u00e9 p' });
  });

  test.each([
    ['a dotless i', '\u0131', 'i'],
    ['a sharp s', 'stra\u00dfe', 'strasse'],
    ['a final sigma', '\u03c3\u03c2', '\u03c3\u03c3'],
  ])('are not those with %s', (_with, one, other) => expect(key(one)).not.toEqual(key(other)));
});

describe('code points that a user name does not have (RFC 8264 §9)', () => {
  test.each([
    ['NUL', '\0'],
    ['a control', '\u0085'],
    ['a zero-width space', '\u200b'],
    ['a byte order mark', '\ufeff'],
    ['a soft hyphen', '\u00ad'],
    ['a right-to-left override', '\u202e'],
    ['an isolate', '\u2066'],
    ['a mark of direction', '\u200f'],
    ['a tag', '\u{e0041}'],
    ['a variation selector', '\ufe0f'],
    ['a combining grapheme joiner', '\u034f'],
    ['a Hangul filler', '\u3164'],
    ['an old Hangul jamo', '\u1100'],
    ['a no-break space', '\u00a0'],
    ['a ligature', '\ufb01'],
    ['a superscript', '\u00b2'],
    ['a title-case letter', '\u01c5'],
    ['a symbol', '\u20ac'],
    ['punctuation', '\u2026'],
    ['an emoji', '\u{1f600}'],
    ['a full-width macron, which would become a space', '\uffe3'],
    ['half of a pair', '\ud800'],
    ['private use', '\ue000'],
    ['a noncharacter', '\ufdd0'],
    ['unassigned', '\u0378'],
    ['a kashida', '\u0640'],
    ['a vertical kana repeat mark', '\u3031'],
  ])('%s', (_what, character) => expect(key(`a${character}b`)).toEqual(FAULT));

  test.each([' a', 'a ', 'a  b', ' ', 'x'.repeat(101)])('nor is %j a name', (name) =>
    expect(parseUsername(name)).toEqual(FAULT),
  );

  test('a name says which; a password tells nothing of itself', () => {
    expect(key('a\u202eb')).toEqual({ fault: expect.stringContaining('U+202E') });
    expect(enforcePassword('a\u202eb')).toEqual({ fault: expect.not.stringContaining('202') });
  });
});

describe('code points that depend on their neighbours (RFC 5892 appendix A)', () => {
  test.each([
    ['ZERO WIDTH NON-JOINER after a virama', '\u0915\u094d\u200c\u0937', true],
    ['ZERO WIDTH NON-JOINER between letters that join', '\u0646\u0627\u0645\u0647\u200c\u0627\u06cc', true],
    ['ZERO WIDTH NON-JOINER with a mark in between', '\u0645\u064e\u200c\u0645', true],
    ['ZERO WIDTH NON-JOINER after a letter that does not join', '\u0627\u200c\u0645', false],
    ['ZERO WIDTH NON-JOINER in Latin text', 'al\u200cice', false],
    ['ZERO WIDTH NON-JOINER twice', '\u0645\u200c\u200c\u0645', false],
    ['ZERO WIDTH NON-JOINER at the end', '\u0645\u200c', false],
    ['ZERO WIDTH JOINER after a virama', '\u0915\u094d\u200d\u0937', true],
    ['ZERO WIDTH JOINER elsewhere', 'al\u200dice', false],
    ['MIDDLE DOT between l and l', 'l\u00b7l', true],
    ['MIDDLE DOT elsewhere', 'l\u00b7a', false],
    ['GREEK KERAIA before Greek', '\u0375\u03b2', true],
    ['GREEK KERAIA before Latin', '\u0375b', false],
    ['HEBREW GERESH after Hebrew', '\u05d0\u05f3', true],
    ['HEBREW GERSHAYIM after Latin', 'a\u05f4', false],
    ['KATAKANA MIDDLE DOT with Katakana', '\u30ab\u30fb\u30ab', true],
    ['KATAKANA MIDDLE DOT alone', 'a\u30fbb', false],
    ['ARABIC-INDIC DIGITS', '\u0628\u0661\u0662', true],
    ['ARABIC-INDIC DIGITS of two kinds', '\u0628\u0661\u06f2', false],
  ])('%s', (_what, name, isAllowed) => expect(key(name)).toEqual(isAllowed ? { text: expect.any(String) } : FAULT));

  test('joiners are checked in passwords too', () => {
    expect(enforcePassword('\u0915\u094d\u200d\u0937')).toEqual({ text: '\u0915\u094d\u200d\u0937' });
    expect(enforcePassword('pass\u200dword')).toEqual(FAULT);
  });
});

describe('from right to left (RFC 5893 §2)', () => {
  test.each([
    ['Hebrew', '\u05d0\u05d1\u05d2', true],
    ['Arabic with European digits at the end', '\u0628\u0628123', true],
    ['Hebrew with a point', '\u05d0\u05b7', true],
    ['ends with punctuation', '\u05d0\u05d1.', false],
    ['begins with a digit', '1\u05d0', false],
    ['begins with a mark', '\u05b7\u05d0', false],
    ['Latin within Hebrew', '\u05d0a\u05d1', false],
    ['Hebrew within Latin', 'a\u05d0b', false],
    ['digits of both kinds', '\u0628\u06611', false],
    ['an Arabic number alone', '\u0661', false],
    ['N\u2019Ko digits', '\u07ca\u07c1', true],
    ['Adlam', '\u{1e900}\u{1e951}', true],
    ['each part on its own', 'alice \u05d0\u05d1', true],
  ])('%s', (_what, name, isAllowed) => expect(key(name)).toEqual(isAllowed ? { text: expect.any(String) } : FAULT));
});

test('what is made of a text stays as it is when it is made again (RFC 8264 §7)', () => {
  for (let codePoint = 0; codePoint < 0x30000; codePoint += 1) {
    for (const enforce of [key, enforcePassword]) {
      const once = enforce(String.fromCodePoint(codePoint));
      if ('text' in once && once.text !== String.fromCodePoint(codePoint)) expect(enforce(once.text)).toEqual(once);
    }
  }
});

test('what is looked for need not be a name', () => {
  expect(foldSearch('JOS\u00c9 \u202e\uff21')).toBe('jos\u00e9 \u202ea');
});
