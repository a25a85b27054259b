// What is written about the configuration is what the configuration code reads. test/support/configuration-docs.ts renders
// it; when this fails, copy the expected text.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { VARIABLES, type Variable } from '../../src/config/variables.ts';
import { configurationTable, envExample } from '../support/configuration-docs.ts';

const read = (path: string) => readFile(join(import.meta.dirname, '../..', path), 'utf8');

/** Biome fills the columns of a table with spaces. */
const withoutPadding = (markdown: string) =>
  markdown.replace(/ +/g, ' ').replace(/-{3,}/g, '---').replaceAll(' --- ', '---');

test('.env.example lists every variable with unit and default, in order, and nothing else', async () => {
  expect(await read('.env.example')).toBe(envExample());
});

test('README.md has the same in its table', async () => {
  expect(withoutPadding(await read('README.md'))).toContain(withoutPadding(`\n${configurationTable()}\n`));
});

test('every variable without its #, as a copied .env.example would set it, is the default configuration', () => {
  const assignments = envExample()
    .split('\n')
    .filter((line) => /^#[A-Z_]+=/.test(line))
    .map((line) => line.slice(1).split('=') as [string, string]);
  const variables = VARIABLES as readonly Variable[];
  expect(assignments).toHaveLength(variables.length + variables.filter(({ isSecret }) => isSecret).length);
  expect(loadConfig(Object.fromEntries(assignments))).toEqual(loadConfig({}));
});
