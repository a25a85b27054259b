// What a user name is: how it is shown, and the key that it is compared by. Both are made here, not
// by the locale of the database, which may know ASCII only.

import { enforceUsername } from './precis.ts';

/** Of a name as somebody writes it, in UTF-16 code units. */
export const MAX_USERNAME_LENGTH = 100;

export interface Username {
  /** as it is shown: RFC 8265 §3.4 (UsernameCasePreserved) */
  readonly name: string;
  /** as it is compared: RFC 8265 §3.3 (UsernameCaseMapped) */
  readonly key: string;
}

/** @returns `fault` when PRECIS refuses it; safe to show */
export function parseUsername(text: string): Username | { readonly fault: string } {
  // Before anything else: to normalise a long text takes long.
  if (text.length > MAX_USERNAME_LENGTH) return { fault: `must have ${MAX_USERNAME_LENGTH} characters at most` };
  const shown = enforceUsername(text, { isCaseMapped: false });
  if ('fault' in shown) return shown;
  const compared = enforceUsername(shown.text, { isCaseMapped: true });
  return 'fault' in compared ? compared : { name: shown.text, key: compared.text };
}

/** @returns undefined when PRECIS refuses the name: it is compared with names that are stored exactly so */
export function usernameKey(text: string): string | undefined {
  const parsed = parseUsername(text);
  return 'fault' in parsed ? undefined : parsed.key;
}
