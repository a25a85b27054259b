// Rows in memory, as current as the change log says: a request asks it first (change-log), and what
// has changed is dropped here. A row that changed while it was loaded is given to the callers that
// came before the change was known, but not remembered; those that come later load it anew.

import { LRUCache } from 'lru-cache';
import type { ChangeLog } from './change-log.ts';

export interface CacheOptions<Value> {
  readonly changes: Pick<ChangeLog, 'subscribe'>;
  /** which changes concern it */
  readonly topic: string;
  /** entries; the least recently used ones go */
  readonly max: number;
  /** one key for several spellings of it; the changes are announced under any of them */
  normalize?(key: string): string;
  load(key: string): Promise<Value | undefined>;
  onRequest?(result: 'hit' | 'miss'): void;
}

/** No promise when it is remembered: ten of them would be most of what a request costs. */
export type Answer<Value> = Value | undefined | Promise<Value | undefined>;

type Answers<Values extends readonly unknown[]> = { readonly [Index in keyof Values]: Answer<Values[Index]> };
export type Found<Values extends readonly unknown[]> = { readonly [Index in keyof Values]: Values[Index] | undefined };

/** @returns no promise when all of them are remembered */
export function allAnswers<Values extends readonly unknown[]>(
  answers: Answers<Values>,
): Found<Values> | Promise<Found<Values>> {
  const isLoading = answers.some((answer) => answer instanceof Promise);
  return (isLoading ? Promise.all(answers) : answers) as Found<Values> | Promise<Found<Values>>;
}

export interface Cache<Value> {
  /** What does not exist is not remembered: invented keys must not push out real ones. */
  readonly get: (key: string) => Answer<Value>;
}

interface Load<Value> {
  readonly value: Promise<Value | undefined>;
  isSuperseded: boolean;
}

export function createCache<Value extends object>(options: CacheOptions<Value>): Cache<Value> {
  const { changes, load, normalize = (key) => key } = options;
  const remembered = new LRUCache<string, Value>({ max: options.max });
  const loading = new Map<string, Load<Value>>();

  changes.subscribe(options.topic, (changed) => {
    if (changed === undefined) {
      remembered.clear();
      for (const running of loading.values()) running.isSuperseded = true;
      loading.clear();
      return;
    }
    const key = normalize(changed);
    remembered.delete(key);
    const running = loading.get(key);
    if (running !== undefined) running.isSuperseded = true;
    loading.delete(key);
  });

  function loadOnce(key: string): Promise<Value | undefined> {
    const joined = loading.get(key);
    if (joined !== undefined) return joined.value;
    const running: Load<Value> = {
      isSuperseded: false,
      value: load(key)
        .then((value) => {
          if (value !== undefined && !running.isSuperseded) remembered.set(key, value);
          return value;
        })
        .finally(() => {
          if (loading.get(key) === running) loading.delete(key);
        }),
    };
    loading.set(key, running);
    return running.value;
  }

  return {
    get(lookedUp) {
      const key = normalize(lookedUp);
      const value = remembered.get(key);
      options.onRequest?.(value === undefined ? 'miss' : 'hit');
      return value ?? loadOnce(key);
    },
  };
}
