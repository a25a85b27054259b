// Gets what a recipe needs: Debian's packages where root runs it, and what its own commands install from the registries.

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { run, type Variables } from './commands.ts';
import type { Command, NamedRecipe } from './recipe.ts';

const CACHE = fileURLToPath(new URL('./.cache/', import.meta.url));

/** Why it cannot be tried here. Anything else that goes wrong is a failure. */
export class Skipped extends Error {}

const NO_NETWORK =
  /ENOTFOUND|EAI_AGAIN|ENETUNREACH|ECONNREFUSED|ETIMEDOUT|Temporary failure|Could not resolve|Name or service not known|dial tcp|Unknown host/;

/** @throws Skipped, or Error when it cannot be installed though its registry answers */
export async function install(recipe: NamedRecipe): Promise<Variables> {
  const variables = { CACHE: `${CACHE}${recipe.name}` };
  await mkdir(variables.CACHE, { recursive: true });
  await installPackages(recipe.apt ?? []);
  for (const program of recipe.programs ?? []) {
    if (!(await succeeds(['which', program]))) throw new Skipped(`there is no ${program} on this machine`);
  }
  for (const command of recipe.install) await perform(command, recipe.folder, variables);
  return variables;
}

async function installPackages(packages: readonly string[]): Promise<void> {
  if (packages.length === 0 || (await succeeds(['dpkg', '-s', ...packages]))) return;
  if (process.getuid?.() !== 0) throw new Skipped(`needs ${packages.join(', ')} of Debian, and only root can install`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  await perform(['apt-get', 'update', '-q'], CACHE, quiet);
  await perform(['apt-get', 'install', '-qy', '--no-install-recommends', ...packages], CACHE, quiet);
}

async function perform(command: Command, folder: string, variables: Variables): Promise<void> {
  const program = run(command, folder, variables);
  if ((await program.exited) === 0) return;
  if (NO_NETWORK.test(program.output)) throw new Skipped(`no network: ${command.join(' ')}`);
  throw new Error(`${command.join(' ')}\n${program.output}`);
}

async function succeeds(command: Command): Promise<boolean> {
  return (await run(command, CACHE, {}).exited) === 0;
}
