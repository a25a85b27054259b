// What can be said of the recipes without running them; `npm run test:integrations` runs them.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { chooseRecipes, slowGroupOf } from '../integrations/options.ts';
import { loadRecipes, type NamedRecipe, SLOW_GROUPS } from '../integrations/recipe.ts';
import { isFailure, type Outcome, report } from '../integrations/report.ts';
import { ROOT } from './support/shell-blocks.ts';

let recipes: NamedRecipe[];
beforeAll(async () => {
  recipes = await loadRecipes();
});

describe('docs/integrate.md', () => {
  let rows: readonly (readonly [string, string])[];
  beforeAll(async () => {
    const page = await readFile(join(ROOT, 'docs/integrate.md'), 'utf8');
    rows = [...page.matchAll(/^\| \[[^\]]+\]\(\.\.\/integrations\/clients\/([^/]+)\/.*\| ([^|]*)\|$/gm)].map(
      ([, name = '', switches = '']) => [name, switches] as const,
    );
  });

  test('has a row for each recipe, and a recipe for each row', () => {
    expect(rows.map(([name]) => name).sort()).toEqual(recipes.map(({ name }) => name).sort());
  });

  test('names the switches of each recipe, and no others', () => {
    const named = Object.fromEntries(
      rows.map(([name, cell]) => [name, [...cell.matchAll(/`([^`]+)`/g)].map(([, s]) => s)]),
    );
    expect(named).toEqual(
      Object.fromEntries(recipes.map(({ name, switches }) => [name, switches.map((one) => one.name)])),
    );
  });

  test('says what each switch is for', async () => {
    const [, section = ''] = (await readFile(join(ROOT, 'docs/integrate.md'), 'utf8')).split('\n## Switches\n');
    const explained = [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name);
    const needed = new Set(recipes.flatMap(({ switches }) => switches.map(({ name }) => name)));
    expect(explained.sort()).toEqual([...needed].sort());
  });
});

test('what recipes install from npm has exact versions and a lock', async () => {
  const manifests = recipes.map(({ folder }) => join(folder, 'package.json')).filter(existsSync);
  expect(manifests.length).toBeGreaterThan(0);
  for (const path of manifests) {
    const { dependencies } = JSON.parse(await readFile(path, 'utf8'));
    expect([path, Object.values(dependencies)]).toEqual([
      path,
      Object.values(dependencies).map(() => expect.stringMatching(/^\d[\w.-]*$/)),
    ]);
    expect(existsSync(path.replace('package.json', 'package-lock.json'))).toBe(true);
  }
});

test.each([
  ['go.mod', 'go.sum', /^\s*(?:require )?\S+\.\S+ (v.*)$/gm, /^v\d+\.\d+\.\d+/],
  [
    'Cargo.toml',
    'Cargo.lock',
    /^(?!version|edition)[\w-]+ = (?:\{ version = )?("[^"]*\d[^"]*")/gm,
    /^"=\d+\.\d+\.\d+"$/,
  ],
  ['pom.xml', undefined, /<version>(.*)<\/version>/g, /^\d+(\.\d+\.\d+)?$/],
])('what recipes install by %s has exact versions', async (manifest, lock, versions, exact) => {
  const folders = recipes.map(({ folder }) => folder).filter((folder) => existsSync(join(folder, manifest)));
  expect(folders.length).toBeGreaterThan(0);
  for (const folder of folders) {
    const named = [...(await readFile(join(folder, manifest), 'utf8')).matchAll(versions)].map(
      ([, version]) => version,
    );
    expect(named.length).toBeGreaterThan(0);
    expect([folder, named]).toEqual([folder, named.map(() => expect.stringMatching(exact))]);
    expect(lock === undefined || existsSync(join(folder, lock))).toBe(true);
  }
});

test('what recipes install from PyPI has exact versions', async () => {
  const files = recipes.map(({ folder }) => join(folder, 'requirements.txt')).filter(existsSync);
  expect(files.length).toBeGreaterThan(0);
  for (const path of files) {
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    expect([path, lines]).toEqual([path, lines.map(() => expect.stringMatching(/^[\w.-]+==[\w.]+$/))]);
  }
});

describe('what CI runs', () => {
  test('is what is quick, and one slow group of the commit', () => {
    const all = (['each time', ...SLOW_GROUPS] as const).map(
      (group) => ({ name: group, group }) as unknown as NamedRecipe,
    );
    const chosen = chooseRecipes(all, { names: [], isCi: true }).map(({ group }) => group);
    expect(chosen).toEqual(['each time', expect.stringMatching(SLOW_GROUPS.join('|'))]);
    expect(chooseRecipes(all, { names: [], isCi: false })).toEqual(all);
  });

  test('reaches every slow group', () => {
    const hashes = Array.from({ length: 64 }, (_, index) => `${index.toString(16).padStart(8, '0')}aaaa`);
    expect(new Set(hashes.map(slowGroupOf))).toEqual(new Set(SLOW_GROUPS));
  });

  test('refuses a name that no recipe has', () => {
    expect(() => chooseRecipes(recipes, { names: ['openid-client-66'], isCi: false })).toThrow('openid-client-66');
  });
});

describe('the report', () => {
  const recipe = { name: 'a library', switches: [], without: { refresh: 'it cannot' } } as unknown as NamedRecipe;
  const passed = { 'sign-in': {}, claims: {}, API: {}, 'other API': {}, 'sign-out': {} };
  const outcome = (more: Partial<Outcome>): Outcome => ({
    recipe,
    results: passed,
    installSeconds: 1,
    runSeconds: 2,
    ...more,
  });

  test('counts what passed, failed and was skipped', () => {
    const outcomes = [
      outcome({}),
      outcome({ results: { ...passed, API: { failed: 'the API answers 401' } } }),
      outcome({ results: {}, failed: 'it does not start' }),
      outcome({ results: {}, skipped: 'no network' }),
    ];
    expect(outcomes.map(isFailure)).toEqual([false, true, true, false]);
    expect(report(outcomes)).toContain('1 clients passed, 2 failed, 1 skipped');
    expect(report(outcomes)).toContain('API FAILED: the API answers 401');
    expect(report(outcomes)).toContain('skipped: no network');
  });

  test('takes a flow that was not tried for one that has failed', () => {
    const { 'sign-out': _, ...tried } = passed;
    expect(isFailure(outcome({ results: tried }))).toBe(true);
    expect(report([outcome({ results: tried })])).toContain('not tried');
  });
});
