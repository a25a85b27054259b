// Slows down the guessing of passwords, per account and per network address, counted in PostgreSQL so that all nodes count
// together. An attempt is counted before the password is checked and given back when it was right: a hundred guesses sent at
// once are a hundred attempts.

import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type pg from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

export interface LoginThrottle {
  /**
   * @param foldedUsername equal for all spellings that the database takes for the same account
   * @returns undefined if the attempt may be made, else the seconds to wait
   */
  attempt(foldedUsername: string, address: string): Promise<number | undefined>;
  /** The password was right: the account starts anew, the address gets its attempt back. */
  succeeded(foldedUsername: string, address: string): Promise<void>;
}

export interface LoginThrottleLimits {
  readonly failuresPerAccount: number;
  readonly failuresPerAddress: number;
  readonly windowSeconds: number;
}

export function createLoginThrottle(pool: pg.Pool, limits: LoginThrottleLimits): LoginThrottle {
  const accounts = createLimiter(pool, 'account', limits.failuresPerAccount, limits.windowSeconds);
  const addresses = createLimiter(pool, 'address', limits.failuresPerAddress, limits.windowSeconds);

  return {
    async attempt(foldedUsername, address) {
      // One after the other: an address that may not try any more must not use up the attempts of one account after another.
      return (
        (await secondsToWait(addresses, addressKey(address))) ??
        (await secondsToWait(accounts, accountKey(foldedUsername)))
      );
    },
    async succeeded(foldedUsername, address) {
      await Promise.all([accounts.delete(accountKey(foldedUsername)), addresses.reward(addressKey(address), 1)]);
    },
  };
}

/** The same for whatever else can be guessed, by network address alone. */
export interface GuessThrottle {
  /** @returns undefined if the attempt may be made, else the seconds to wait */
  attempt(address: string): Promise<number | undefined>;
  /** It was no wrong guess: the address gets its attempt back. */
  wasRight(address: string): Promise<void>;
}

/** @param kind what is guessed: a word of our own, part of the key */
export function createGuessThrottle(
  pool: pg.Pool,
  kind: 'user-code' | 'registration' | 'metadata-document',
  limits: { readonly attempts: number; readonly windowSeconds: number },
): GuessThrottle {
  const addresses = createLimiter(pool, kind, limits.attempts, limits.windowSeconds);
  return {
    attempt: (address) => secondsToWait(addresses, addressKey(address)),
    async wasRight(address) {
      await addresses.reward(addressKey(address), 1);
    },
  };
}

function createLimiter(pool: pg.Pool, keyPrefix: string, points: number, windowSeconds: number): RateLimiterPostgres {
  return new RateLimiterPostgres({
    storeClient: pool,
    storeType: 'client',
    tableName: 'login_throttle',
    tableCreated: true,
    // provider/prune sweeps the table: a timer inside the library would keep the process alive.
    clearExpiredByTimeout: false,
    keyPrefix,
    points,
    duration: windowSeconds,
  });
}

async function secondsToWait(limiter: RateLimiterPostgres, key: string): Promise<number | undefined> {
  try {
    await limiter.consume(key);
    return undefined;
  } catch (refusal) {
    if (refusal instanceof RateLimiterRes) return Math.max(1, Math.ceil(refusal.msBeforeNext / 1000));
    throw refusal;
  }
}

/** What was typed into the username field may be anything, a password too: it is hashed before it is stored. */
function accountKey(foldedUsername: string): string {
  return createHash('sha256').update(foldedUsername).digest('base64url');
}

/** One household or one virtual machine owns a whole /64 of IPv6. */
function addressKey(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array(Math.max(0, 8 - front.length - back.length)).fill('0');
  return [...front, ...zeros, ...back].slice(0, 4).join(':');
}
