// The command line: names of recipes, or --ci.

import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type NamedRecipe, SLOW_GROUPS } from './recipe.ts';

export interface Options {
  /** [] means all */
  readonly names: readonly string[];
  /** the groups that CI runs at this commit */
  readonly isCi: boolean;
}

/** @throws TypeError with a text for the user */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ci: { type: 'boolean', default: false } },
  });
  return { names: positionals, isCi: values.ci };
}

/** @throws TypeError with a text for the user */
export function chooseRecipes(recipes: readonly NamedRecipe[], { names, isCi }: Options): readonly NamedRecipe[] {
  const unknown = names.filter((name) => !recipes.some((recipe) => recipe.name === name));
  if (unknown.length > 0) {
    throw new TypeError(`no recipe ${unknown.join(', ')}; there are ${recipes.map(({ name }) => name).join(', ')}`);
  }
  const slow = isCi ? slowGroupOf(commit()) : undefined;
  return recipes.filter(
    ({ name, group }) =>
      (names.length === 0 || names.includes(name)) && (slow === undefined || ['each time', slow].includes(group)),
  );
}

/** They take minutes each, so each commit gets one of them. @param hash of the commit, hexadecimal */
export function slowGroupOf(hash: string): (typeof SLOW_GROUPS)[number] {
  return SLOW_GROUPS[Number.parseInt(hash.slice(0, 8), 16) % SLOW_GROUPS.length] as (typeof SLOW_GROUPS)[number];
}

function commit(): string {
  return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', cwd: import.meta.dirname }).trim();
}
