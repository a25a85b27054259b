// Client secrets: how they are made, stored and checked.
//
// A generated secret has 256 bits, for which one SHA-256 is enough. An imported secret may be weak,
// so it is stored as argon2id; because that costs 25 ms, a success is cached, in this process only,
// under an HMAC with a key of this process. The cache key contains the stored hash, so that no
// entry fits a rotated or removed secret. Failures are not cached.

import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { PasswordHasher } from '../password-hash.ts';

const GENERATED_PREFIX = 'sha256$';
/** Lets secret scanners find a leaked secret. */
const SECRET_PREFIX = 'lys_';
const MAX_CACHED = 10_000;
const MAX_SECRET_LENGTH = 512;

export interface StoredSecret {
  readonly id: string;
  readonly hash: string;
  readonly expiresAt: Date | undefined;
}

export function generateSecret(): string {
  return SECRET_PREFIX + randomBytes(32).toString('base64url');
}

export function hashGeneratedSecret(secret: string): string {
  return GENERATED_PREFIX + hash('sha256', secret, 'base64url');
}

export interface SecretVerifier {
  /**
   * @returns the stored secret that was presented, at once if it was generated; undefined if none
   *   matches or it has expired
   */
  match(
    clientId: string,
    stored: readonly StoredSecret[],
    presented: string,
  ): StoredSecret | undefined | Promise<StoredSecret | undefined>;
}

export function createSecretVerifier(passwords: PasswordHasher): SecretVerifier {
  const processKey = randomBytes(32);
  const verified = new LRUCache<string, true>({ max: MAX_CACHED });
  const running = new Map<string, Promise<boolean>>();

  /** One argon2 run for concurrent equal requests. */
  function verifyOnce(key: string, storedHash: string, presented: string): Promise<boolean> {
    const pending = running.get(key);
    if (pending !== undefined) return pending;
    const run = passwords.verify(storedHash, presented).finally(() => running.delete(key));
    running.set(key, run);
    return run;
  }

  async function isImported(clientId: string, storedHash: string, presented: string): Promise<boolean> {
    const key = createHmac('sha256', processKey)
      .update(JSON.stringify([clientId, storedHash, presented]))
      .digest('base64url');
    if (verified.get(key) === true) return true;
    const isRight = await verifyOnce(key, storedHash, presented);
    if (isRight) verified.set(key, true);
    return isRight;
  }

  async function matchImported(
    clientId: string,
    imported: readonly StoredSecret[],
    presented: string,
  ): Promise<StoredSecret | undefined> {
    for (const secret of imported) {
      if (await isImported(clientId, secret.hash, presented)) return isExpired(secret) ? undefined : secret;
    }
    return undefined;
  }

  return {
    match(clientId, stored, presented) {
      if (presented.length > MAX_SECRET_LENGTH) return undefined;
      const usable = stored.filter((secret) => !isExpired(secret));
      const presentedHash = hashGeneratedSecret(presented);
      const generated = usable.find((secret) => isEqual(secret.hash, presentedHash));
      const imported = usable.filter((secret) => !secret.hash.startsWith(GENERATED_PREFIX));
      return generated ?? (imported.length === 0 ? undefined : matchImported(clientId, imported, presented));
    },
  };
}

function isExpired(secret: StoredSecret): boolean {
  return secret.expiresAt !== undefined && secret.expiresAt.getTime() <= Date.now();
}

/** Compares in constant time; hashes of the same kind have the same length. */
function isEqual(expected: string, actual: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(actual)];
  return a.length === b.length && timingSafeEqual(a, b);
}
