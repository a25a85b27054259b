// What is written about the configuration is what the parser reads. When this fails, write the
// files anew: node test/support/configuration-docs.ts

import { expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { GROUPS, VARIABLES } from '../../src/config/variables.ts';
import { CONFIGURATION_DOCS, readDoc } from '../support/configuration-docs.ts';

test.each(Object.keys(CONFIGURATION_DOCS))('%s lists every variable with unit, default and meaning', async (path) => {
  expect(await readDoc(path)).toBe(CONFIGURATION_DOCS[path]?.());
});

test('every variable is in one group of the documentation', () => {
  const names = GROUPS.flatMap(({ variables }) => Object.keys(variables));
  expect(names.sort()).toEqual(Object.keys(VARIABLES).sort());
});

test('every variable without its #, as in a copy of .env.example, is the default configuration', async () => {
  const lines = (await readDoc('.env.example')).split('\n');
  const assignments = lines
    .filter((line) => /^#[A-Z_]+=/.test(line))
    .map((line): [string, string] => {
      const [name = '', text = ''] = line.slice(1).split('=');
      return [name, text];
    });
  const secrets = Object.values(VARIABLES).filter((variable) => 'isSecret' in variable);
  expect(assignments).toHaveLength(Object.keys(VARIABLES).length + secrets.length);
  expect(loadConfig(Object.fromEntries(assignments))).toEqual(loadConfig({}));
});
