// User names and passwords in Unicode: the profiles UsernameCaseMapped, UsernameCasePreserved and
// OpaqueString (RFC 8265) of the PRECIS framework (RFC 8264). What a code point is comes from the
// Unicode of this Node.js; one that it does not know is refused. (npm has precis-js alone, of 2015,
// with the obsolete RFC 7564 and Unicode 8.)

import { domainToASCII } from 'node:url';

/** `text`: as it is compared, stored or hashed. `fault`: why it is refused; safe to show. */
export type Enforced = { readonly text: string } | { readonly fault: string };

/** RFC 8264 §4.2 and §4.3 */
type StringClass = 'identifier' | 'freeform';

interface Profile {
  readonly stringClass: StringClass;
  readonly map: (text: string) => string;
  readonly hasBidiRule?: boolean;
}

// RFC 8264 §9.6
const VALID_EXCEPTIONS = /[\u00df\u03c2\u06fd\u06fe\u0f0b\u3007]/;
const CONTEXTUAL_EXCEPTIONS = /[\u00b7\u0375\u05f3\u05f4\u30fb\u0660-\u0669\u06f0-\u06f9]/;
const REFUSED_EXCEPTIONS = /[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b]/;
// RFC 8264 §9.8, §9.9, §9.12, §9.13: what joins others has a rule of its own, below.
const JOINERS = /[\u200c\u200d]/;
const OLD_HANGUL_JAMO = /[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb]/;
const IGNORABLE_OR_CONTROL = /[\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\p{Cc}]/u;
// RFC 8264 §9.1, §9.14 to §9.18
const LETTER_OR_DIGIT = /[\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}]/u;
const OTHER_PRINTABLE = /[\p{Lt}\p{Nl}\p{No}\p{Me}\p{Zs}\p{S}\p{P}]/u;

/** RFC 8264 §8, in its order. `contextual` depends on what is beside it. */
function propertyOf(character: string): 'valid' | 'contextual' | 'freeform only' | 'refused' {
  if (VALID_EXCEPTIONS.test(character)) return 'valid';
  if (CONTEXTUAL_EXCEPTIONS.test(character)) return 'contextual';
  if (REFUSED_EXCEPTIONS.test(character) || /\p{Cn}/u.test(character)) return 'refused';
  if (/[\x21-\x7e]/.test(character)) return 'valid';
  if (JOINERS.test(character)) return 'contextual';
  if (OLD_HANGUL_JAMO.test(character) || IGNORABLE_OR_CONTROL.test(character)) return 'refused';
  if (character.normalize('NFKC') !== character) return 'freeform only';
  if (LETTER_OR_DIGIT.test(character)) return 'valid';
  return OTHER_PRINTABLE.test(character) ? 'freeform only' : 'refused';
}

/** RFC 5892 appendix A.3 to A.9, as what breaks the rules. */
const CONTEXT_FAULTS: readonly RegExp[] = [
  /(?<!l)\u00b7|\u00b7(?!l)/u,
  /\u0375(?!\p{Script=Greek})/u,
  /(?<!\p{Script=Hebrew})[\u05f3\u05f4]/u,
  /^(?!.*[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]).*\u30fb/su,
  /[\u0660-\u0669].*[\u06f0-\u06f9]|[\u06f0-\u06f9].*[\u0660-\u0669]/su,
];

/** A joiner with what it joins, and the marks in between. */
const JOINED = /[^\p{M}]?\p{M}*[\u200c\u200d]\p{M}*[^\p{M}]?/gu;

/** RFC 5892 appendix A.1 and A.2. The URL parser of Node.js has these rules, with the joining types that they need. */
function joinsWell(text: string): boolean {
  if (/[\u200c\u200d]{2}/.test(text)) return false;
  // What is ASCII joins nothing, and may mean something in a URL.
  const joined = text.match(JOINED) ?? [];
  return joined.every((part) => domainToASCII(part.replace(/\p{ASCII}/gu, '')) !== '');
}

const RIGHT_TO_LEFT_BLOCKS = '\\u0590-\\u08ff\\ufb1d-\\ufdff\\ufe70-\\ufeff\\u{10800}-\\u{10fff}\\u{1e800}-\\u{1efff}';
// Bidi classes of what an identifier may hold: AN, EN, and R or AL.
const ARABIC_NUMBER = '\\u0660-\\u0669\\u{10d30}-\\u{10d39}';
const EUROPEAN_NUMBER = '0-9\\u06f0-\\u06f9';
const RIGHT_TO_LEFT = `(?![${ARABIC_NUMBER}${EUROPEAN_NUMBER}])(?=[${RIGHT_TO_LEFT_BLOCKS}])[\\p{L}\\p{Nd}\\u05f3\\u05f4\\u06fd\\u06fe]`;
const LEFT_TO_RIGHT_EXCEPTIONS = '\\u0cbf\\u0cc6\\u0f0b\\u3007\\u{11a07}\\u{11a08}\\u{11c3f}';
const LEFT_TO_RIGHT = `(?![${RIGHT_TO_LEFT_BLOCKS}${EUROPEAN_NUMBER}])[\\p{L}\\p{Nd}\\p{Mc}${LEFT_TO_RIGHT_EXCEPTIONS}]`;
const HAS_RIGHT_TO_LEFT = new RegExp(`${RIGHT_TO_LEFT}|[${ARABIC_NUMBER}]`, 'u');
/** RFC 5893 §2: the conditions 1, 2, 3 and 4 of a text that has something from right to left. */
const BIDI_CONDITIONS: readonly RegExp[] = [
  new RegExp(`^${RIGHT_TO_LEFT}`, 'u'),
  new RegExp(`^(?!.*${LEFT_TO_RIGHT})`, 'su'),
  new RegExp(`(?:${RIGHT_TO_LEFT}|[${ARABIC_NUMBER}${EUROPEAN_NUMBER}])\\p{Mn}*$`, 'u'),
  new RegExp(`^(?!.*[${ARABIC_NUMBER}].*[${EUROPEAN_NUMBER}]|.*[${EUROPEAN_NUMBER}].*[${ARABIC_NUMBER}])`, 'su'),
];

function followsBidiRule(text: string): boolean {
  return !HAS_RIGHT_TO_LEFT.test(text) || BIDI_CONDITIONS.every((condition) => condition.test(text));
}

/** Full width and half width (RFC 8264 §5.2.1): those whose decomposition an identifier may hold, and the blank. */
const OTHER_WIDTH = /[\u3000\uff01-\uff9f]/g;
const toUsualWidth = (text: string) => text.replace(OTHER_WIDTH, (character) => character.normalize('NFKC'));

/** RFC 8265 §3.4 */
const CASE_PRESERVED: Profile = {
  stringClass: 'identifier',
  map: (text) => toUsualWidth(text).normalize('NFC'),
  hasBidiRule: true,
};
/** RFC 8265 §3.3 */
const CASE_MAPPED: Profile = { ...CASE_PRESERVED, map: (text) => toUsualWidth(text).toLowerCase().normalize('NFC') };
/** RFC 8265 §4.2 */
const OPAQUE: Profile = { stringClass: 'freeform', map: (text) => text.replace(/\p{Zs}/gu, ' ').normalize('NFC') };

/** The rules may have to be applied again to what they have made (RFC 8264 §7). */
const MAX_ROUNDS = 4;

function enforce(profile: Profile, text: string): Enforced {
  let before = text;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const after = applyOnce(profile, before);
    if ('fault' in after || after.text === before) return after;
    before = after.text;
  }
  return { fault: 'must be text that stays as it is when it is normalised' };
}

/** In the order of RFC 8264 §7: what is canonically equivalent is taken, or refused, alike. */
function applyOnce({ stringClass, map, hasBidiRule }: Profile, text: string): Enforced {
  const mapped = map(text);
  if (mapped === '') return { fault: 'must not be empty' };
  for (const character of mapped) {
    const property = propertyOf(character);
    const isRefused = property === 'refused' || (property === 'freeform only' && stringClass === 'identifier');
    if (isRefused) return { fault: `must not contain ${nameOf(character, stringClass)}` };
  }
  const isInContext = joinsWell(mapped) && !CONTEXT_FAULTS.some((fault) => fault.test(mapped));
  if (!isInContext) return { fault: 'must not contain characters that are allowed between others only' };
  if (hasBidiRule === true && !followsBidiRule(mapped)) {
    return { fault: 'must not mix characters that are written from right to left with others' };
  }
  return { text: mapped };
}

/** Of a password nothing is told. */
function nameOf(character: string, stringClass: StringClass): string {
  if (stringClass === 'freeform') return 'control characters, invisible characters or unknown ones';
  const hex = (character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0');
  return `U+${hex}: letters, digits and ASCII punctuation only, with single spaces in between`;
}

/**
 * A user name, which is one or more parts with a space in between (RFC 8265 §3.1, §3.5).
 * @param isCaseMapped what names are compared by; otherwise what is shown
 */
export function enforceUsername(text: string, { isCaseMapped }: { readonly isCaseMapped: boolean }): Enforced {
  const parts: string[] = [];
  for (const part of toUsualWidth(text).split(' ')) {
    if (part === '') return { fault: 'must not be empty, begin or end with a space, or have two in a row' };
    const enforced = enforce(isCaseMapped ? CASE_MAPPED : CASE_PRESERVED, part);
    if ('fault' in enforced) return enforced;
    parts.push(enforced.text);
  }
  return { text: parts.join(' ') };
}

/** A password (OpaqueString). */
export function enforcePassword(text: string): Enforced {
  return enforce(OPAQUE, text);
}

/** What is looked for in names: compared as they are, whatever it is. */
export function foldSearch(text: string): string {
  return CASE_MAPPED.map(text);
}
