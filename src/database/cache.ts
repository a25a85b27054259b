// Rows in memory that are never stale where it matters: an answer comes from memory only while the change feed vouches for it.
// While the feed is down every question goes to the database. A load that was underway when its row changed is handed to
// whoever waits for it, but not remembered.

import { LRUCache } from 'lru-cache';
import type { ChangeFeed } from './change-feed.ts';

export interface CacheOptions<Value> {
  readonly changes: ChangeFeed;
  /** which changes concern it */
  readonly topic: string;
  /** entries; the least recently used ones go */
  readonly max: number;
  /** one key for several spellings of it; the changes are announced under any of them */
  normalize?(key: string): string;
  load(key: string): Promise<Value | undefined>;
  onRequest?(result: 'hit' | 'miss' | 'bypass'): void;
}

/** At once when it is remembered: a promise for each of ten questions would be most of what a request costs. */
export type Answer<Value> = Value | undefined | Promise<Value | undefined>;

export interface Cache<Value> {
  /** What does not exist is not remembered: whoever asks for invented keys must not push the real ones out. */
  get(key: string): Answer<Value>;
}

interface Load<Value> {
  readonly value: Promise<Value | undefined>;
  isSuperseded: boolean;
}

export function createCache<Value extends object>(options: CacheOptions<Value>): Cache<Value> {
  const { changes, load, normalize = (key) => key } = options;
  const remembered = new LRUCache<string, Value>({ max: options.max });
  const underway = new Map<string, Load<Value>>();

  changes.subscribe(options.topic, (changed) => {
    if (changed === undefined) {
      remembered.clear();
      for (const running of underway.values()) running.isSuperseded = true;
      underway.clear();
      return;
    }
    const key = normalize(changed);
    remembered.delete(key);
    const running = underway.get(key);
    if (running !== undefined) running.isSuperseded = true;
    underway.delete(key);
  });

  function loadOnce(key: string): Promise<Value | undefined> {
    const joined = underway.get(key);
    if (joined !== undefined) return joined.value;
    const running: Load<Value> = {
      isSuperseded: false,
      value: load(key)
        .then((value) => {
          if (value !== undefined && !running.isSuperseded) remembered.set(key, value);
          return value;
        })
        .finally(() => {
          if (underway.get(key) === running) underway.delete(key);
        }),
    };
    underway.set(key, running);
    return running.value;
  }

  return {
    get(asked) {
      const key = normalize(asked);
      if (!changes.isLive()) {
        options.onRequest?.('bypass');
        return load(key);
      }
      const value = remembered.get(key);
      options.onRequest?.(value === undefined ? 'miss' : 'hit');
      return value ?? loadOnce(key);
    },
  };
}
