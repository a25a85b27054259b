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

export const instant = z.iso
  .datetime()
  // RFC 3339 has a year 0, PostgreSQL has not.
  .refine((value) => !value.startsWith('0000'), 'must not be in the year 0')
  .meta({ description: 'RFC 3339, UTC' });
