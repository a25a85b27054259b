// The keys that this process uses. They are read at start, after each change, and when one becomes
// active or expires. A request that comes after a change waits for them (database/change-log). A key
// that cannot be decrypted is left out, so that it does not keep a removed key in use.

import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { BASIC_ALGORITHMS, loadSigningKeys, readSigningKeys, type SigningKey } from './key-ring.ts';
import type { SecretKeys } from './seal.ts';

export interface KeySet {
  readonly signingKeys: readonly SigningKey[];
  /** the first one signs, all of them verify */
  readonly cookieKeys: readonly string[];
}

export interface FollowKeysOptions {
  readonly database: Database;
  readonly secretKeys: SecretKeys;
  readonly cookies: CookieSchedule;
  readonly log: Log;
}

export interface CookieSchedule {
  /** undefined: no rotation */
  readonly rotationDays: number | undefined;
  /** the longest lifetime of a cookie */
  readonly sessionSeconds: number;
}

export interface KeyFollower {
  current(): KeySet;
  /** Calls the listener with each new set of keys. */
  onChange(listener: (keys: KeySet) => void): void;
  /**
   * Resolves when changes that were committed before the call are in use.
   * @throws when the keys cannot be read: the current ones stay in use
   */
  refresh(): Promise<void>;
  stop(): void;
}

const DAY_SECONDS = 86_400;
/** After a failed read. */
const RETRY_MS = 1_000;
/** A timer does not reach further. */
const MOST_MS = 86_400_000;

/** @throws Error when the keys cannot be read at the start */
export async function followKeys(options: FollowKeysOptions): Promise<KeyFollower> {
  const { database, secretKeys, cookies, log } = options;
  const listeners: ((keys: KeySet) => void)[] = [];
  let current = withCookieKeys(options, await loadSigningKeys(database, secretKeys.sealingKeys));
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  /** One load at a time, so that an older result never replaces a newer one. */
  let lastLoad: Promise<void> = Promise.resolve();
  function refresh(): Promise<void> {
    lastLoad = lastLoad.catch(() => {}).then(load);
    return lastLoad;
  }

  async function load(): Promise<void> {
    if (isStopped) return;
    schedule(RETRY_MS);
    const loaded = await reload(options, current.signingKeys);
    if (fingerprint(loaded) !== fingerprint(current)) {
      for (const listener of listeners) listener(loaded);
      current = loaded;
      log.info({ keys: loaded.signingKeys.map(({ kid, alg, state }) => ({ kid, alg, state })) }, 'the keys changed');
    }
    schedule(millisecondsToNextDate(current.signingKeys, cookies));
  }

  function schedule(inMs: number): void {
    clearTimeout(timer);
    if (!isStopped) timer = setTimeout(() => void refresh().catch(onError), Math.min(MOST_MS, inMs)).unref();
  }

  const onError = (error: unknown) => log.error({ error }, 'the signing keys could not be read');
  database.changes.subscribe('signing_key', refresh);
  schedule(millisecondsToNextDate(current.signingKeys, cookies));
  return {
    current: () => current,
    onChange: (listener) => void listeners.push(listener),
    refresh,
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

async function reload(options: FollowKeysOptions, inUse: readonly SigningKey[]): Promise<KeySet> {
  const { database, secretKeys, log } = options;
  const { signingKeys, fault } = await readSigningKeys(database, secretKeys.sealingKeys, inUse);
  if (fault !== undefined) {
    log.error({ error: fault }, 'some of the signing keys could not be read: this process does not use them');
  }
  return withCookieKeys(options, signingKeys);
}

/** Not so when every key was taken away, and those that took their place are sealed under another secret key. */
export function canSign({ signingKeys }: KeySet): boolean {
  return BASIC_ALGORITHMS.every((needed) => signingKeys.some(({ alg }) => alg === needed));
}

function withCookieKeys({ secretKeys, cookies }: FollowKeysOptions, signingKeys: readonly SigningKey[]): KeySet {
  return { signingKeys, cookieKeys: cookieKeysAt(secretKeys, cookies, Date.now() / 1000) };
}

function fingerprint({ signingKeys, cookieKeys }: KeySet): string {
  return JSON.stringify([signingKeys.map(({ kid, state }) => [kid, state]), cookieKeys]);
}

function millisecondsToNextDate(keys: readonly SigningKey[], { rotationDays }: CookieSchedule): number {
  const now = Date.now();
  const periodMs = (rotationDays ?? Number.POSITIVE_INFINITY) * DAY_SECONDS * 1000;
  const nextPeriod = (Math.floor(now / periodMs) + 1) * periodMs;
  const ofKeys = keys.flatMap(({ activateAt, removeAt }) => [activateAt.getTime(), removeAt?.getTime() ?? now]);
  const dates = [nextPeriod, ...ofKeys];
  return Math.min(...dates.filter((date) => date > now).map((date) => date - now + 1));
}

/**
 * The cookie keys, derived for each rotation period and not stored: the current one, the earlier
 * ones for the lifetime of a cookie, and the next one, for a node whose clock is ahead.
 */
export function cookieKeysAt(
  secretKeys: Pick<SecretKeys, 'cookieKeys'>,
  { rotationDays, sessionSeconds }: CookieSchedule,
  nowSeconds: number,
): string[] {
  if (rotationDays === undefined) return [...secretKeys.cookieKeys(0)];
  const periodSeconds = rotationDays * DAY_SECONDS;
  const period = Math.floor(nowSeconds / periodSeconds);
  const before = Math.ceil(sessionSeconds / periodSeconds);
  const periods = [period, ...Array.from({ length: before }, (_, index) => period - index - 1), period + 1];
  return periods.flatMap((each) => [...secretKeys.cookieKeys(each)]);
}
