// The keys that this process uses now: read at the start, and again whenever somebody changes them, whenever one of them has
// become active or outdated by the clock, and now and then in any case. When they cannot be read, those of before stay in use; when
// one of them does not open, this process does without it. One that was taken away is never used any longer because of another.

import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { loadSigningKeys, readSigningKeys, type SigningKey } from './key-ring.ts';
import type { SecretKeys } from './seal.ts';

export interface KeySet {
  readonly signingKeys: readonly SigningKey[];
  /** the first signs, all verify */
  readonly cookieKeys: readonly string[];
}

export interface FollowKeysOptions {
  readonly database: Pick<Database, 'query' | 'transaction' | 'changes'> & Database;
  readonly secretKeys: SecretKeys;
  readonly cookies: CookieSchedule;
  readonly log: Log;
}

export interface CookieSchedule {
  /** undefined: always the same */
  readonly rotationDays: number | undefined;
  /** how long a cookie may be kept */
  readonly sessionSeconds: number;
}

export interface KeyFollower {
  current(): KeySet;
  /** Calls back with every set of keys that takes the place of another one. */
  onChange(listener: (keys: KeySet) => void): void;
  /** Resolves when what was committed before the call is in use here. */
  refresh(): Promise<void>;
  stop(): void;
}

const DAY_SECONDS = 86_400;
/** Clocks are compared, and a notification may be missed. */
const POLL_MS = 30_000;
/** While nobody tells us what others change, or we could not read what somebody told us of. */
const BLIND_POLL_MS = 1_000;

/** @throws Error when the keys cannot be read at the start */
export async function followKeys({ database, secretKeys, cookies, log }: FollowKeysOptions): Promise<KeyFollower> {
  const listeners: ((keys: KeySet) => void)[] = [];
  const { sealingKeys } = secretKeys;
  let current = withCookieKeys(await loadSigningKeys(database, sealingKeys));
  let timer: NodeJS.Timeout | undefined;
  let isBehind = false;
  let isStopped = false;

  function withCookieKeys(signingKeys: readonly SigningKey[]): KeySet {
    return { signingKeys, cookieKeys: cookieKeysAt(secretKeys, cookies, Date.now() / 1000) };
  }

  async function load(): Promise<KeySet> {
    const { signingKeys, fault } = await readSigningKeys(database, sealingKeys, current.signingKeys);
    if (fault !== undefined) {
      log.error({ error: fault }, 'some of the signing keys could not be read: this process does without them');
    }
    return withCookieKeys(signingKeys);
  }

  /** One after the other: an older answer never overtakes a newer one. */
  let lastLoad: Promise<void> = Promise.resolve();
  function refresh(): Promise<void> {
    lastLoad = lastLoad.then(async () => {
      if (isStopped) return;
      try {
        const loaded = await load();
        isBehind = false;
        if (fingerprint(loaded) !== fingerprint(current)) {
          for (const listener of listeners) listener(loaded);
          current = loaded;
          log.info(
            { keys: loaded.signingKeys.map(({ kid, alg, state }) => ({ kid, alg, state })) },
            'the keys changed',
          );
        }
      } catch (error) {
        isBehind = true;
        log.error({ error }, 'the signing keys could not be read: those of before stay in use');
      }
      wait();
    });
    return lastLoad;
  }

  function wait(): void {
    clearTimeout(timer);
    if (isStopped) return;
    const poll = database.changes.isLive() && !isBehind ? POLL_MS : BLIND_POLL_MS;
    timer = setTimeout(refresh, Math.min(poll, millisecondsToNextDate(current.signingKeys))).unref();
  }

  database.changes.subscribe('signing_key', () => void refresh());
  wait();
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

function fingerprint({ signingKeys, cookieKeys }: KeySet): string {
  return JSON.stringify([signingKeys.map(({ kid, state }) => [kid, state]), cookieKeys]);
}

function millisecondsToNextDate(keys: readonly SigningKey[]): number {
  const now = Date.now();
  const dates = keys.flatMap(({ activateAt, removeAt }) => [activateAt.getTime(), removeAt?.getTime() ?? now]);
  return Math.min(...dates.filter((date) => date > now).map((date) => date - now + 1));
}

/**
 * Cookies are signed with another key in every period, without anybody storing one: that of today, those of before for as long
 * as a cookie of theirs may live, and the next one, which a node whose clock is ahead has begun to use.
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
