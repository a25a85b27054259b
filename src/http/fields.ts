// The kinds of text in requests. Each has a maximum length, and none may contain control
// characters: PostgreSQL refuses NUL, and the others can falsify what a log or a page shows.

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

/** RFC 6749 appendix A.1 allows more; these are safe in URLs, headers and logs. */
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

export const instant = z.iso.datetime().meta({ description: 'RFC 3339, UTC' });
