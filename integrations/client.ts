// One recipe from its installation to its end: registers the client, starts the app, and goes through the flows.

import { until } from '../test/support/patience.ts';
import { freePort } from '../test/support/server.ts';
import { startApis } from './apis.ts';
import { createHttpBrowser } from './browser.ts';
import { openChromium } from './chromium-browser.ts';
import { type Running, run, stopPrograms, type Variables } from './commands.ts';
import { type Scene, STEPS } from './flows.ts';
import { install, Skipped } from './install.ts';
import { flowsOf, type NamedRecipe, PATHS } from './recipe.ts';
import type { FlowResult, Outcome } from './report.ts';
import { SCOPE, type Stage, USER } from './stage.ts';

/** Ends with whatever it has started, also when it is stopped from outside: see stopPrograms. */
export async function tryRecipe(stage: Stage, recipe: NamedRecipe): Promise<Outcome> {
  const began = performance.now();
  const seconds = () => Math.round((performance.now() - began) / 1000);
  let installed = 0;
  try {
    const variables = await install(recipe);
    installed = seconds();
    const played = await play(stage, recipe, variables);
    return { recipe, ...played, installSeconds: installed, runSeconds: seconds() - installed };
  } catch (error) {
    const { message, stack } = error as Error;
    const trouble = error instanceof Skipped ? { skipped: message } : { failed: String(stack) };
    return { recipe, results: {}, installSeconds: installed, runSeconds: seconds() - installed, ...trouble };
  } finally {
    await stopPrograms();
  }
}

async function play(
  stage: Stage,
  recipe: NamedRecipe,
  variables: Variables,
): Promise<Pick<Outcome, 'results' | 'logs'>> {
  stage.newTrouble();
  await using cleanUps = new AsyncDisposableStack();
  const paths = { ...PATHS, ...recipe.paths };
  const port = await freePort();
  const appUrl = `http://localhost:${port}`;
  const redirectUri = `${appUrl}${paths.redirect}`;
  const loggedOutUri = `${appUrl}${paths.loggedOut}`;
  // Recipes before this one may have taken longer than the token lives.
  stage.admin.forgetToken();
  const client = await stage.admin.createClient({
    client_name: recipe.title,
    redirect_uris: [redirectUri],
    post_logout_redirect_uris: [loggedOutUri],
    ...Object.assign({}, ...recipe.switches.map(({ registration }) => registration)),
  });
  const apis = await startApis(stage, client.clientId, recipe);
  cleanUps.defer(apis.stop);
  const app = run(recipe.start, recipe.folder, {
    ...variables,
    ISSUER: stage.issuer,
    CLIENT_ID: client.clientId,
    CLIENT_SECRET: client.clientSecret,
    PORT: String(port),
    APP_URL: appUrl,
    REDIRECT_URI: redirectUri,
    POST_LOGOUT_REDIRECT_URI: loggedOutUri,
    SCOPE,
    RESOURCE: apis.resource,
    API_URL: apis.url,
    OTHER_API_URL: apis.otherUrl,
  });
  cleanUps.defer(() => app.stop());
  await listens(app, appUrl);
  const browser = recipe.browser === 'chromium' ? await openChromium(USER) : createHttpBrowser(stage.issuer, USER);
  cleanUps.defer(() => browser.close());
  const results = await goThrough(recipe, { browser, issuer: stage.issuer, appUrl, paths });
  const hasFailed = Object.values(results).some(({ failed }) => failed !== undefined);
  return { results, ...(hasFailed ? { logs: `${app.output}\n${stage.newTrouble().join('\n')}` } : {}) };
}

async function listens(app: Running, appUrl: string): Promise<void> {
  const answers = () =>
    fetch(appUrl, { redirect: 'manual' }).then(
      () => true,
      () => false,
    );
  await until(async () => app.exitCode !== undefined || (await answers()), 'an answer of the app').catch(() => {});
  if (app.exitCode !== undefined || !(await answers())) throw new Error(`the app does not answer:\n${app.output}`);
}

async function goThrough(recipe: NamedRecipe, scene: Scene): Promise<Outcome['results']> {
  const results: Record<string, FlowResult> = {};
  for (const flow of flowsOf(recipe)) {
    try {
      await STEPS[flow](scene);
      results[flow] = {};
    } catch (error) {
      results[flow] = { failed: String((error as Error).message) };
      // Nothing else is possible for somebody who is not signed in.
      if (flow === 'sign-in') break;
    }
  }
  return results;
}
