// Tests that wait for a time, or measure one, fail on a busy machine. These wait for what happens
// (support/patience.ts).

import { expect, test } from '@jest/globals';
import { parseSources } from './support/source-tree.ts';
import { ALLOWED_CLOCKS, clockUses, readTests } from './support/waiting-rules.ts';

test('no test sleeps, measures a duration or has a timeout of its own', async () => {
  const tests = await readTests();
  expect(tests.length).toBeGreaterThan(80);
  expect(clockUses(tests).sort()).toEqual(ALLOWED_CLOCKS.map(({ use }) => use).sort());
});

test.each([
  "import { setTimeout as sleep } from 'node:timers/promises';",
  'await new Promise((resolve) => setTimeout(resolve, 50));',
  'setInterval(poll, 50);',
  'jest.setTimeout(60_000);',
  'await fetch(url, { signal: AbortSignal.timeout(100) });',
  'const startedAt = performance.now();',
  'expect(Date.now() - startedAt).toBeLessThan(100);',
  "test('a name', async () => {}, 60_000);",
  "test.each([1, 2])('%i', async () => {}, 60_000);",
  'beforeAll(async () => {}, 60_000);',
])('%s is found', async (text) => {
  expect(clockUses(await parseSources({ 'a.test.ts': text }))).toHaveLength(1);
});

test.each([
  "await until(() => isOver, 'the end');",
  "test.each([1, 2])('%i', async () => {});",
  'const exp = Math.floor(Date.now() / 1000) + 60; const before = new Date(Date.now() - 60_000);',
])('%s is fine', async (text) => {
  expect(clockUses(await parseSources({ 'a.test.ts': text }))).toEqual([]);
});
