// `npm run test:integrations [name…]`: each recipe in clients/ against a fresh Lanyard, through its real pages. Prints a table, and
// exits with 0 only when nothing failed. README.md says what a recipe is.
//
// recipe.ts is the form of a recipe; stage.ts is Lanyard; client.ts tries one recipe: install.ts gets what it needs, apis.ts is
// what it calls, commands.ts runs its programs, flows.ts is what a user does, with browser.ts or chromium-browser.ts; report.ts prints.

import { createCleanups, runProgram, say } from '../bench/cleanups.ts';
import { tryRecipe } from './client.ts';
import { endPrograms } from './commands.ts';
import { chooseRecipes, parseOptions } from './options.ts';
import { loadRecipes } from './recipe.ts';
import { isFailure, type Outcome, report, verdict } from './report.ts';
import { startStage } from './stage.ts';

const cleanups = createCleanups();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const recipes = chooseRecipes(await loadRecipes(), options);
  const stage = await startStage();
  cleanups.add(() => stage.stop());
  cleanups.add(endPrograms);
  const outcomes: Outcome[] = [];
  for (const recipe of recipes) {
    const outcome = await tryRecipe(stage, recipe);
    say(`${recipe.name}: ${verdict(outcome)}`);
    outcomes.push(outcome);
  }
  process.stdout.write(report(outcomes));
  if (outcomes.length === 0 || outcomes.some(isFailure)) process.exitCode = 1;
}

runProgram(main, cleanups);
