// Client secrets: how they are made, stored and checked.
//
// A generated secret has 256 bits, for which one SHA-256 is enough. An imported secret may be weak,
// so it is stored as argon2id; because that costs 25 ms, a success is cached, in this process only,
// under an HMAC with a key of this process. The cache key contains the stored hash, so that no
// entry fits a rotated or removed secret. Failures are not cached. They are limited by client and
// network address: what is not cached can be tried so often, and other addresses are not
// concerned.

import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AppError } from '../errors.ts';
import type { BoundedPasswordHasher } from '../password-hash.ts';

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

/** Who presents a secret. */
export interface Presenter {
  readonly clientId: string;
  /** of the network */
  readonly address: string;
}

export interface SecretVerifier {
  /**
   * @returns the stored secret that was presented, at once if it was generated; undefined if none
   *   matches or it has expired
   * @throws AppError `too_many_requests`, `overloaded`, before anything is computed
   */
  match(
    presenter: Presenter,
    stored: readonly StoredSecret[],
    presented: string,
  ): StoredSecret | undefined | Promise<StoredSecret | undefined>;
}

export interface SecretVerifierDeps {
  /** with a queue of its own */
  readonly passwords: Pick<BoundedPasswordHasher, 'verify' | 'assertRoom'>;
  /** resolves to the seconds to wait, or undefined */
  readonly throttle: {
    attempt(address: string, clientId: string): Promise<number | undefined>;
    giveBack(address: string, clientId: string): Promise<void>;
  };
  /** Called for each secret that was refused. */
  readonly onFailure: (presenter: Presenter) => void;
}

export function createSecretVerifier(deps: SecretVerifierDeps): SecretVerifier {
  const matchImported = createImportedSecrets(deps);

  return {
    match(presenter, stored, presented) {
      const isTooLong = presented.length > MAX_SECRET_LENGTH;
      const usable = isTooLong ? [] : stored.filter((secret) => !isExpired(secret));
      const presentedHash = isTooLong ? '' : hashGeneratedSecret(presented);
      const generated = usable.find((secret) => isEqual(secret.hash, presentedHash));
      if (generated !== undefined) return generated;
      const imported = usable.filter((secret) => !secret.hash.startsWith(GENERATED_PREFIX));
      if (imported.length > 0) return matchImported(presenter, imported, presented);
      deps.onFailure(presenter);
      return undefined;
    },
  };
}

type MatchImported = (
  presenter: Presenter,
  imported: readonly StoredSecret[],
  presented: string,
) => Promise<StoredSecret | undefined>;

function createImportedSecrets(deps: SecretVerifierDeps): MatchImported {
  const processKey = randomBytes(32);
  const verified = new LRUCache<string, true>({ max: MAX_CACHED });
  const running = new Map<string, Promise<StoredSecret | undefined>>();

  function keyOf({ clientId }: Presenter, { hash: storedHash }: StoredSecret, presented: string): string {
    return createHmac('sha256', processKey)
      .update(JSON.stringify([clientId, storedHash, presented]))
      .digest('base64url');
  }

  /** One attempt for concurrent equal requests of an address. */
  function verifyOnce(key: string, run: () => Promise<StoredSecret | undefined>): Promise<StoredSecret | undefined> {
    const pending = running.get(key);
    if (pending !== undefined) return pending;
    const started = run().finally(() => running.delete(key));
    running.set(key, started);
    return started;
  }

  return async (presenter, imported, presented) => {
    const isKnown = (secret: StoredSecret) => verified.get(keyOf(presenter, secret, presented)) === true;
    const known = imported.find(isKnown);
    if (known !== undefined) return known;
    const key = [presenter.address, ...imported.map((each) => keyOf(presenter, each, presented))].join(' ');
    try {
      const secret = await verifyOnce(key, () => verify(deps, presenter, imported, presented));
      if (secret === undefined) deps.onFailure(presenter);
      else verified.set(keyOf(presenter, secret, presented), true);
      return secret === undefined || isExpired(secret) ? undefined : secret;
    } catch (error) {
      if (error instanceof AppError && error.code === 'too_many_requests') deps.onFailure(presenter);
      throw error;
    }
  };
}

/** Counted before anything is computed: a hundred guesses at once are a hundred guesses. */
async function verify(
  { passwords, throttle }: SecretVerifierDeps,
  { clientId, address }: Presenter,
  imported: readonly StoredSecret[],
  presented: string,
): Promise<StoredSecret | undefined> {
  passwords.assertRoom();
  const retryAfterSeconds = await throttle.attempt(address, clientId);
  if (retryAfterSeconds !== undefined) {
    const detail = 'too many wrong secrets of this client came from this address';
    throw new AppError('too_many_requests', detail, { retryAfterSeconds });
  }
  try {
    for (const secret of imported) {
      if (!(await passwords.verify(secret.hash, presented))) continue;
      await throttle.giveBack(address, clientId);
      return secret;
    }
    return undefined;
  } catch (error) {
    // It was not checked: too many others wait.
    await throttle.giveBack(address, clientId);
    throw error;
  }
}

function isExpired(secret: StoredSecret): boolean {
  return secret.expiresAt !== undefined && secret.expiresAt.getTime() <= Date.now();
}

/** Compares in constant time; hashes of the same kind have the same length. */
function isEqual(expected: string, actual: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(actual)];
  return a.length === b.length && timingSafeEqual(a, b);
}
