// Rows in memory: never remembered when a change came in between. The change log here is a variable of
// the test; the real one has its own tests.

import { beforeEach, describe, expect, test } from '@jest/globals';
import { type CacheOptions, createCache } from '../../src/database/cache.ts';
import type { ChangeListener } from '../../src/database/change-log.ts';

interface Row {
  readonly name: string;
}

let listeners: Map<string, ChangeListener>;
let rows: Map<string, Row>;
let loads: string[];
let asked: string[];
/** While it is set, loads have read their row and wait to hand it over. */
let gate: Promise<void> | undefined;

beforeEach(() => {
  listeners = new Map();
  rows = new Map([
    ['a', { name: 'old a' }],
    ['b', { name: 'old b' }],
  ]);
  loads = [];
  asked = [];
  gate = undefined;
});

function create(options: Partial<CacheOptions<Row>> = {}) {
  return createCache<Row>({
    changes: {
      subscribe: (topic, listener) => void listeners.set(topic, listener),
    },
    topic: 'thing',
    max: 10,
    onRequest: (result) => asked.push(result),
    async load(key) {
      loads.push(key);
      const row = rows.get(key);
      await gate;
      return row;
    },
    ...options,
  });
}

const change = (key: string | undefined) => listeners.get('thing')?.(key);

function closedGate(): () => void {
  let open: () => void = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  return open;
}

test('what was loaded once is remembered, and is there without a promise', async () => {
  const cache = create();
  expect(await cache.get('a')).toEqual({ name: 'old a' });
  expect(cache.get('a')).toEqual({ name: 'old a' });
  expect([loads, asked]).toEqual([['a'], ['miss', 'hit']]);
});

test('a change is loaded again, and nothing else is forgotten for it', async () => {
  const cache = create();
  await Promise.all([cache.get('a'), cache.get('b')]);
  rows.set('a', { name: 'new a' });
  change('a');
  expect(await cache.get('a')).toEqual({ name: 'new a' });
  expect(cache.get('b')).toEqual({ name: 'old b' });
  expect(loads).toEqual(['a', 'b', 'a']);
});

test('when any row may have changed all are forgotten', async () => {
  const cache = create();
  await Promise.all([cache.get('a'), cache.get('b')]);
  change(undefined);
  await Promise.all([cache.get('a'), cache.get('b')]);
  expect(loads).toEqual(['a', 'b', 'a', 'b']);
});

describe.each([
  ['its row', 'a'],
  ['any row', undefined],
])('a load during which %s changes', (_name, key) => {
  test('is answered, but not remembered: a disabled client would stay enabled here for ever', async () => {
    const cache = create();
    const open = closedGate();
    const early = cache.get('a');
    rows.delete('a');
    change(key);
    open();
    expect(await early).toEqual({ name: 'old a' });
    gate = undefined;
    expect(await cache.get('a')).toBeUndefined();
  });

  test('is not joined by who asks after the change, and does not push out what that one has loaded', async () => {
    const cache = create();
    const openFirst = closedGate();
    const early = cache.get('a');
    rows.set('a', { name: 'new a' });
    change(key);
    gate = undefined;
    expect(await cache.get('a')).toEqual({ name: 'new a' });
    openFirst();
    expect(await early).toEqual({ name: 'old a' });
    expect(cache.get('a')).toEqual({ name: 'new a' });
    expect(loads).toEqual(['a', 'a']);
  });
});

test('an old load that ends does not hide a newer one from the next change', async () => {
  const cache = create();
  const openFirst = closedGate();
  const first = cache.get('a');
  change('a');
  const openSecond = closedGate();
  const second = cache.get('a');
  openFirst();
  await first;
  rows.set('a', { name: 'new a' });
  change('a');
  openSecond();
  await second;
  gate = undefined;
  expect(await cache.get('a')).toEqual({ name: 'new a' });
});

test('a change of another row does not cost a load its place in the memory', async () => {
  const cache = create();
  const open = closedGate();
  const early = cache.get('a');
  change('b');
  open();
  await early;
  expect(cache.get('a')).toEqual({ name: 'old a' });
});

test('many who ask for the same row at once share one load', async () => {
  const cache = create();
  const open = closedGate();
  const all = Array.from({ length: 50 }, () => cache.get('a'));
  open();
  expect(new Set(await Promise.all(all)).size).toBe(1);
  expect(loads).toEqual(['a']);
});

test('a load that fails fails for those who wait, and is tried again by the next', async () => {
  let isBroken = true;
  const cache = create({
    load: async (key) => {
      if (isBroken) throw new Error('no connection');
      return rows.get(key);
    },
  });
  const both = await Promise.allSettled([cache.get('a'), cache.get('a')]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  isBroken = false;
  expect(await cache.get('a')).toEqual({ name: 'old a' });
});

test('what does not exist is not remembered: it is there once it is registered, and invented keys push nothing out', async () => {
  const cache = create({ max: 2 });
  await Promise.all([cache.get('a'), cache.get('b')]);
  for (let number = 0; number < 100; number++) expect(await cache.get(`invented ${number}`)).toBeUndefined();
  expect([cache.get('a'), cache.get('b')]).toEqual([{ name: 'old a' }, { name: 'old b' }]);
  rows.set('invented 1', { name: 'real' });
  expect(await cache.get('invented 1')).toEqual({ name: 'real' });
});

test('beyond its bound the one that was not used for longest goes', async () => {
  const cache = create({ max: 2 });
  rows.set('c', { name: 'c' });
  await cache.get('a');
  await cache.get('b');
  await cache.get('a');
  await cache.get('c');
  loads.length = 0;
  await cache.get('a');
  await cache.get('c');
  expect(loads).toEqual([]);
  await cache.get('b');
  expect(loads).toEqual(['b']);
});

test('several spellings of a key are one row, under whichever its change is announced', async () => {
  const cache = create({ normalize: (key) => key.toLowerCase() });
  await cache.get('A');
  expect(cache.get('a')).toEqual({ name: 'old a' });
  rows.set('a', { name: 'new a' });
  change('A');
  expect(await cache.get('a')).toEqual({ name: 'new a' });
  expect(loads).toEqual(['a', 'a']);
});
