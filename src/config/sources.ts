// Where the values of the configuration come from: the environment, or files that it names.

import { readFileSync } from 'node:fs';
import type { Variable } from './variable.ts';
import { VARIABLES, type Values } from './variables.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const TABLE: readonly [name: string, variable: Variable][] = Object.entries(VARIABLES);

/**
 * The text of each known variable, from the environment or from the file that `<name>_FILE` names.
 * @param faults gets a sentence for each variable that is unknown, given twice, or names a file
 *   that cannot be read
 */
export function readTexts(env: Environment, faults: string[]): Map<string, string> {
  const texts = new Map<string, string>();
  const known = new Set<string>();
  for (const [name, { isSecret }] of TABLE) {
    known.add(name);
    const text = env[name];
    if (text !== undefined && text !== '') texts.set(name, text);
    if (isSecret !== true) continue;
    const fileVariable = `${name}_FILE`;
    known.add(fileVariable);
    const path = env[fileVariable];
    if (path === undefined || path === '') continue;
    if (texts.has(name)) {
      faults.push(`${name} and ${fileVariable} are both set: choose one`);
      continue;
    }
    try {
      texts.set(name, readFileSync(path, 'utf8').replace(/\r?\n$/, ''));
    } catch (error) {
      faults.push(`${fileVariable} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith('LANYARD_') && !known.has(name)) faults.push(`${name} is not a variable of Lanyard`);
  }
  return texts;
}

/**
 * The value of each variable, by its schema: of its text, else of its default.
 * @param faults gets a sentence for each text that its schema refuses; the default takes its place
 */
export function parseValues(texts: ReadonlyMap<string, string>, faults: string[]): Values {
  const values = TABLE.map(([name, { schema, default: fallback }]) => {
    const parsed = schema.safeParse(texts.get(name) ?? fallback);
    if (parsed.success) return [name, parsed.data];
    // Never the text itself: it may be a secret.
    if (texts.has(name)) faults.push(...parsed.error.issues.map((issue) => `${name} ${issue.message}`));
    return [name, fallback === undefined ? undefined : schema.parse(fallback)];
  });
  return Object.fromEntries(values) as Values;
}
