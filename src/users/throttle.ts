// Limits the guessing of passwords, per account and per network address, counted in PostgreSQL for
// all nodes together. An attempt is counted before the password is checked and given back when it
// was right: a hundred guesses sent at once are a hundred attempts.

import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import type { Query, Statement } from '../database/database.ts';

export interface LoginThrottle {
  /**
   * @param name equal for all spellings of the name of one account
   * @returns undefined if the attempt may be made
   */
  attempt(name: string, address: string): Promise<Throttled | undefined>;
  /** The password was right: resets the account, and gives the address its attempt back. */
  succeeded(name: string, address: string): Promise<void>;
}

export interface Throttled {
  readonly retryAfterSeconds: number;
  /** of the limit that was reached: that of the account or that of the address, hashed like it */
  readonly key: string;
}

export interface LoginThrottleLimits {
  readonly failuresPerAccount: number;
  readonly failuresPerAddress: number;
  readonly windowSeconds: number;
}

export function createLoginThrottle(query: Query, limits: LoginThrottleLimits): LoginThrottle {
  const accounts = createLimiter(query, 'account', limits.failuresPerAccount, limits.windowSeconds);
  const addresses = createLimiter(query, 'address', limits.failuresPerAddress, limits.windowSeconds);

  return {
    async attempt(name, address) {
      // In this order: an address that has no attempts left must not use up those of further
      // accounts.
      return (await consume(addresses, networkOf(address))) ?? (await consume(accounts, hashed(name)));
    },
    async succeeded(name, address) {
      await Promise.all([accounts.delete(hashed(name)), addresses.reward(networkOf(address), 1)]);
    },
  };
}

/** The same for other things that can be guessed, by network address, and by subject where there are several. */
export interface GuessThrottle {
  /**
   * @param subject whose secret is guessed
   * @returns undefined if the attempt may be made, else the seconds to wait
   */
  attempt(address: string, subject?: string): Promise<number | undefined>;
  /** The guess was right, or came to nothing. */
  giveBack(address: string, subject?: string): Promise<void>;
}

/**
 * @param kind what is guessed; part of the key
 * @param options.remembersRefusals a process that has refused a key many times does so without a statement until the window has passed,
 *   even if attempts are given back meanwhile
 */
export function createGuessThrottle(
  query: Query,
  kind: 'user-code' | 'registration' | 'metadata-document' | 'client-secret',
  limits: { readonly attempts: number; readonly windowSeconds: number },
  options: { readonly remembersRefusals: boolean } = { remembersRefusals: false },
): GuessThrottle {
  const addresses = createLimiter(query, kind, limits.attempts, limits.windowSeconds, options.remembersRefusals);
  const keyOf = (address: string, subject?: string) =>
    subject === undefined ? networkOf(address) : `${networkOf(address)} ${hashed(subject)}`;
  return {
    attempt: async (...who) => (await consume(addresses, keyOf(...who)))?.retryAfterSeconds,
    async giveBack(...who) {
      await addresses.reward(keyOf(...who), 1);
    },
  };
}

const HOUR_SECONDS = 3_600;

/** Many processes may check the same right guess at the same time, and refuse some: that must not last. */
const UNREMEMBERED_REFUSALS = 500;

/** Of clients without an initial access token, by registration (RFC 7591 §5) and by metadata document together. */
export function createRegistrationThrottle(query: Query, perHour: number): GuessThrottle {
  return createGuessThrottle(query, 'registration', { attempts: perHour, windowSeconds: HOUR_SECONDS });
}

/** Of one address, which may be that of a whole office. */
const DOCUMENT_FETCHES = { attempts: 60, windowSeconds: 60 };

/** Of what clients make this server fetch when they register: metadata documents and sector identifiers together. */
export function createDocumentThrottle(query: Query): GuessThrottle {
  return createGuessThrottle(query, 'metadata-document', DOCUMENT_FETCHES);
}

function createLimiter(
  query: Query,
  keyPrefix: string,
  points: number,
  windowSeconds: number,
  remembersRefusals = false,
): RateLimiterPostgres {
  return new RateLimiterPostgres({
    storeClient: { query: ({ values, ...statement }: Statement & { values: unknown[] }) => query(statement, values) },
    storeType: 'client',
    tableName: 'login_throttle',
    tableCreated: true,
    // pruning/ sweeps the table: a timer inside the library would keep the process alive.
    clearExpiredByTimeout: false,
    keyPrefix,
    points,
    duration: windowSeconds,
    ...(remembersRefusals ? { inMemoryBlockOnConsumed: points + UNREMEMBERED_REFUSALS } : {}),
  });
}

async function consume(limiter: RateLimiterPostgres, key: string): Promise<Throttled | undefined> {
  try {
    await limiter.consume(key);
    return undefined;
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    const retryAfterSeconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1000));
    return { retryAfterSeconds, key: `${limiter.keyPrefix} ${key}` };
  }
}

/** Before it is stored: people type passwords into the username field too. */
function hashed(subject: string): string {
  return createHash('sha256').update(subject).digest('base64url');
}

/** One subscriber usually has a whole /64 of IPv6, and with it an address for each attempt. */
export function networkOf(address: string): string {
  if (isIP(address) === 0) return address;
  const parsed = ipaddr.process(address);
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  const networkPrefix = parsed.parts.slice(0, 4);
  return networkPrefix.map((part) => part.toString(16)).join(':');
}
