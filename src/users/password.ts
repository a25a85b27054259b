// Checks a password, with the same work whether the user exists or not: a faster answer would tell
// an attacker which names exist.

import { HASH_OF_UNKNOWN_USER, type PasswordHasher } from '../password-hash.ts';
import { type Enforced, enforcePassword } from './precis.ts';

/** Limits the work of one check; long enough for any pass phrase. */
export const MAX_PASSWORD_LENGTH = 256;
/** NIST SP 800-63B §5.1.1.2 */
export const MIN_PASSWORD_LENGTH = 8;

/** What is hashed (RFC 8265 §4.2), or why a password cannot be set. */
export function preparePassword(password: string): Enforced {
  const enforced = enforcePassword(password);
  if ('fault' in enforced || enforced.text.length >= MIN_PASSWORD_LENGTH) return enforced;
  return { fault: `must have ${MIN_PASSWORD_LENGTH} characters or more when it is normalised` };
}

export interface CheckedPassword {
  readonly isRight: boolean;
  /** a hash of the right password as it should be stored, where it was stored as it is typed */
  readonly betterHash?: string | undefined;
}

export interface PasswordCheck {
  /** @param storedHash undefined when there is no such user: the same work, and not right */
  check(storedHash: string | undefined, presented: string): Promise<CheckedPassword>;
}

const WRONG: CheckedPassword = { isRight: false };

export function createPasswordCheck(passwords: PasswordHasher): PasswordCheck {
  return {
    async check(storedHash, presented) {
      if (presented.length > MAX_PASSWORD_LENGTH) return WRONG;
      const phcHash = storedHash ?? HASH_OF_UNKNOWN_USER;
      const enforced = enforcePassword(presented);
      const prepared = 'fault' in enforced ? undefined : enforced.text;
      if (prepared !== undefined && (await passwords.verify(phcHash, prepared))) {
        return { isRight: storedHash !== undefined };
      }
      // Stored before passwords were normalised. Most are the same in both forms: one computation.
      if (prepared === presented || !(await passwords.verify(phcHash, presented)) || storedHash === undefined) {
        return WRONG;
      }
      // A machine that is busy does it at another sign-in.
      const betterHash = prepared && (await passwords.hash(prepared).catch(() => undefined));
      return { isRight: true, betterHash };
    },
  };
}
