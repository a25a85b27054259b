// The set of open responses and connections: what it holds, and that it keeps nothing alive that was removed.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { createOpenSet } from '../../src/server/graceful-shutdown.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

test('an item is listed until it is removed, and is removed once', () => {
  const open = createOpenSet<{ name: string }>();
  const [a, b, c] = [{ name: 'a' }, { name: 'b' }, { name: 'c' }];
  const removeA = open.add(a);
  open.add(b);
  removeA();
  expect(open.list()).toEqual([b]);
  open.add(c);
  removeA(); // its slot is that of c now
  expect(open.list()).toEqual([c, b]);
});

/**
 * @returns the bytes that are still held after 20,000 items of a kilobyte were added and removed, sixteen at a time, and only
 * the young generation was collected
 */
function heldAfter(add: (item: object) => () => void): number {
  const removals: (() => void)[] = [];
  const addOne = () => removals.push(add({ text: new Array(128).fill(Math.random()) }));
  for (let count = 0; count < 16; count++) addOne();
  collect(); // what there is, with the tables that hold it, is old from now on
  const before = process.memoryUsage().heapUsed;
  for (let count = 1; count <= 20_000; count++) {
    addOne();
    removals.shift()?.();
    if (count % 200 === 0) collect({ type: 'minor' });
  }
  return process.memoryUsage().heapUsed - before;
}

test('a removed item is not kept alive by those before it, as it would be in a Set', () => {
  const open = createOpenSet();
  expect(heldAfter((item) => open.add(item))).toBeLessThan(2_000_000);
  const set = new Set<object>();
  const add = (item: object) => {
    set.add(item);
    return () => set.delete(item);
  };
  expect(heldAfter(add)).toBeGreaterThan(5_000_000);
});
