// The kinds of text that requests carry. Each has a maximum length and holds no control characters,
// which would be invisible in a name. (NUL and half surrogate pairs are refused before, see
// input/shape.)

import { z } from 'zod';

const CONTROL_CHARACTERS = /\p{Cc}/u;

/** 1 to `maxLength` characters without control characters. */
export function text(maxLength: number) {
  return z
    .string('must be text')
    .min(1, 'must not be empty')
    .max(maxLength, `must have ${maxLength} characters at most`)
    .refine((value) => !CONTROL_CHARACTERS.test(value), 'must not contain control characters');
}

/**
 * RFC 6749 appendix A.1 allows more; these are safe in URLs, headers and logs, and a client id
 * metadata URL still fits.
 */
export const clientIdField = text(255).regex(
  /^[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$/,
  'may have letters, digits and URL punctuation only',
);

/** RFC 6749 §3.3: a scope token. */
export const scopeToken = text(128).regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be one scope token without spaces');

export const scopeList = z
  .array(scopeToken, 'must be a list of scopes')
  .max(200, 'must have 200 entries at most')
  .refine((scopes) => new Set(scopes).size === scopes.length, 'must not name a scope twice');

/** In answers. */
export const instant = z.iso.datetime().meta({ description: 'RFC 3339, UTC' });

/** Of a request: RFC 3339 §5.6 with any offset. Becomes one in UTC with up to six digits of a second, as PostgreSQL has them. */
export const instantParameter = z
  .string('must be text')
  .transform((text, context) => {
    const utc = toUtc(text);
    if (utc === undefined)
      context.addIssue('must be an RFC 3339 date and time with Z or an offset, in the years 1 to 9999');
    return utc ?? z.NEVER;
  })
  .meta({ format: 'date-time', description: 'RFC 3339, in UTC or with an offset' });

/** A `+` that was not encoded arrives as a blank, which has no other meaning here. */
const DATE_TIME = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+ -](?:[01]\d|2[0-3]):[0-5]\d)$/;

function toUtc(text: string): string | undefined {
  const [, date, minutes, seconds, fraction = '', offset = ''] = DATE_TIME.exec(text) ?? [];
  // `Date` knows no leap second (§5.7), and takes 30 February for 2 March.
  const isLeap = seconds === '60';
  const local = `${date}T${minutes}:${isLeap ? '59' : seconds}`;
  const shifted = Date.parse(local + offset.replace(' ', '+').toUpperCase());
  if (Number.isNaN(shifted) || new Date(`${local}Z`).toISOString().slice(0, 19) !== local) return undefined;
  const utc = new Date(shifted + (isLeap ? 1000 : 0)).toISOString();
  if (isLeap && utc.slice(11, 19) !== '00:00:00') return undefined;
  // RFC 3339 has a year 0, PostgreSQL has not.
  return /^\d{4}-/.test(utc) && !utc.startsWith('0000') ? `${utc.slice(0, 19)}${fraction.slice(0, 7)}Z` : undefined;
}
