// Where the values of the configuration come from: the environment, or files that it names.

import { readFileSync } from 'node:fs';
import { VARIABLES, type Variable } from './variables.ts';

/**
 * The text of each known variable, from the environment or from the file that `<name>_FILE` names.
 * @param faults gets a sentence for each variable that is unknown, given twice, or names a file that cannot be read
 */
export function readTexts(env: Readonly<Record<string, string | undefined>>, faults: string[]): Map<string, string> {
  const texts = new Map<string, string>();
  const known = new Set<string>();
  for (const variable of VARIABLES as readonly Variable[]) {
    known.add(variable.name);
    const text = env[variable.name];
    if (text !== undefined && text !== '') texts.set(variable.name, text);
    if (variable.isSecret !== true) continue;
    const fileVariable = `${variable.name}_FILE`;
    known.add(fileVariable);
    const path = env[fileVariable];
    if (path === undefined || path === '') continue;
    if (texts.has(variable.name)) {
      faults.push(`${variable.name} and ${fileVariable} are both set: choose one`);
      continue;
    }
    try {
      texts.set(variable.name, readFileSync(path, 'utf8').replace(/\r?\n$/, ''));
    } catch (error) {
      faults.push(`${fileVariable} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith('LANYARD_') && !known.has(name)) faults.push(`${name} is not a variable of Lanyard`);
  }
  return texts;
}
