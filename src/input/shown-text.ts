// Text that people read to decide: names of apps and APIs. Nothing in it may be invisible, reverse
// other text or cover it. Every script is allowed, and so are emoji.

import { z } from 'zod';

/**
 * What is drawn as nothing (Unicode: Default_Ignorable_Code_Point: zero-width and tag characters,
 * bidirectional controls, fillers), controls, line separators, and what no font knows.
 */
const HIDDEN = /[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u2800\ufff9-\ufffb]/u;

/** The scripts in which joiners change how letters are drawn (RFC 5892 appendix A.1, A.2). */
const JOINING = [
  ...['Arabic', 'Syriac', 'Nko', 'Mongolian', 'Devanagari', 'Bengali', 'Gurmukhi', 'Gujarati', 'Oriya'],
  ...['Tamil', 'Telugu', 'Kannada', 'Malayalam', 'Sinhala', 'Khmer', 'Myanmar'],
]
  .map((script) => `\\p{Script=${script}}`)
  .join('');
const PICTURE = '\\p{Extended_Pictographic}';
const ALLOWED = new RegExp(
  [
    `(?<=${PICTURE})\\ufe0f`,
    `(?<=[${PICTURE}\\p{Emoji_Modifier}\\ufe0f])\\u200d(?=${PICTURE})`,
    `(?<=[${JOINING}])[\\u200c\\u200d](?=[${JOINING}])`,
  ].join('|'),
  'gu',
);

const ALLOWED_OR_HIDDEN = new RegExp(`${ALLOWED.source}|(${HIDDEN.source})`, 'gu');

/** Marks that cover the lines above and below. No language stacks so many. */
const TOWER = /\p{M}{6}/u;
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;

const HIDDEN_FAULT = 'must not contain characters that are invisible or reverse text';
/** Lines, and marks that Arabic and Hebrew text needs beside digits. */
const LONGER_TEXT = /[\n\t\u061c\u200e\u200f]/gu;

/** @returns why people cannot rely on what they see; undefined when they can */
export function findShownTextFault(text: string): string | undefined {
  if (HIDDEN.test(text.replace(ALLOWED, ''))) return HIDDEN_FAULT;
  if (TOWER.test(text)) return 'must not contain towers of combining marks';
  // The end of a name must not be out of sight.
  if (/\p{Zs}{3}/u.test(text)) return 'must not contain several blanks in a row';
  return text === '' || VISIBLE.test(text) ? undefined : 'must contain something visible';
}

/** Of JSON that is shown with its names. @returns the first fault, with its place (RFC 6901) before it */
export function findShownJsonFault(value: unknown, pointer = ''): string | undefined {
  if (typeof value === 'string') {
    return HIDDEN.test(value.replace(LONGER_TEXT, '').replace(ALLOWED, '')) ? `${pointer} ${HIDDEN_FAULT}` : undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const fault = findShownJsonFault(name, pointer) ?? findShownJsonFault(member, `${pointer}/${name}`);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** @returns the text with what `findShownTextFault` refuses as JSON escapes it */
export function withHiddenSpelledOut(text: string): string {
  return text.replace(ALLOWED_OR_HIDDEN, (character, hidden?: string) => (hidden ? escapesOf(hidden) : character));
}

function escapesOf(character: string): string {
  return character
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
}

/** Up to `maxLength` characters, which may be none. */
export function shownText(maxLength: number) {
  return z
    .string('must be text')
    .max(maxLength, `must have ${maxLength} characters at most`)
    .superRefine((value, context) => {
      const fault = findShownTextFault(value);
      if (fault !== undefined) context.addIssue(fault);
    });
}
