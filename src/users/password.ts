// Checks a password, with the same work whether the user exists or not: a faster answer would tell
// an attacker which names exist.

import { HASH_OF_UNKNOWN_USER, type PasswordHasher } from '../password-hash.ts';

/** Limits the work of one check; long enough for any pass phrase. */
export const MAX_PASSWORD_LENGTH = 256;
/** NIST SP 800-63B §5.1.1.2 */
export const MIN_PASSWORD_LENGTH = 8;

export interface PasswordCheck {
  /** @param storedHash undefined when there is no such user: the same work, and false */
  isRight(storedHash: string | undefined, presented: string): Promise<boolean>;
}

export function createPasswordCheck(passwords: PasswordHasher): PasswordCheck {
  return {
    async isRight(storedHash, presented) {
      if (presented.length > MAX_PASSWORD_LENGTH) return false;
      const isMatch = await passwords.verify(storedHash ?? HASH_OF_UNKNOWN_USER, presented);
      return isMatch && storedHash !== undefined;
    },
  };
}
