// The templates of the pages.

import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const VIEWS = new URL('../../src/interaction/views/', import.meta.url);

/** What is written without being escaped: our own style, script and templates, and the form that the engine has escaped. */
const UNESCAPED: Readonly<Record<string, readonly string[]>> = {
  'layout.eta': ['it.style', 'it.body'],
  'form-post.eta': ['it.action', 'it.inputs', 'it.script'],
};

test('values are escaped: the name of an app could otherwise be a form that sends passwords elsewhere', () => {
  const names = readdirSync(VIEWS, { encoding: 'utf8', recursive: true }).filter((name) => name.endsWith('.eta'));
  expect(names.length).toBeGreaterThan(15);
  for (const name of names) {
    const text = readFileSync(new URL(name, VIEWS), 'utf8');
    const unescaped = [...text.matchAll(/<%~\s*(.*?)\s*%>/gs)].map(([, expression]) => String(expression));
    expect([name, unescaped.filter((each) => !each.startsWith('include('))]).toEqual([name, UNESCAPED[name] ?? []]);
  }
});
