import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { createOpenResponses } from '../../src/server/graceful-shutdown.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

test('what was put in is present until it is taken out, once', () => {
  const slots = createOpenResponses<{ name: string }>();
  const [a, b, c] = [{ name: 'a' }, { name: 'b' }, { name: 'c' }];
  const takeA = slots.put(a);
  slots.put(b);
  takeA();
  expect(slots.present()).toEqual([b]);
  slots.put(c);
  takeA(); // its slot is of c now
  expect(slots.present()).toEqual([c, b]);
});

/** @returns bytes that are still held after 20,000 things of a kilobyte came and went, sixteen at a time, and only the young were collected */
function heldAfter(put: (item: object) => () => void): number {
  const inside: (() => void)[] = [];
  const come = () => inside.push(put({ text: new Array(128).fill(Math.random()) }));
  for (let count = 0; count < 16; count++) come();
  collect(); // what there is, with the tables it is in, is old from now on
  const before = process.memoryUsage().heapUsed;
  for (let count = 1; count <= 20_000; count++) {
    come();
    inside.shift()?.();
    if (count % 200 === 0) collect({ type: 'minor' });
  }
  return process.memoryUsage().heapUsed - before;
}

test('what is gone is not kept alive by what went before it, as it would be in a Set', () => {
  const slots = createOpenResponses();
  expect(heldAfter((item) => slots.put(item))).toBeLessThan(2_000_000);
  const set = new Set<object>();
  const put = (item: object) => {
    set.add(item);
    return () => set.delete(item);
  };
  expect(heldAfter(put)).toBeGreaterThan(5_000_000);
});
