// What a user does with the app of a recipe, and what must come of it. Nothing here depends on a library: it sees pages, and what the
// API answers.

import type { Browser, Visit } from './browser.ts';
import type { Flow, Paths } from './recipe.ts';
import { USER } from './stage.ts';

export interface Scene {
  readonly browser: Browser;
  readonly issuer: string;
  readonly appUrl: string;
  readonly paths: Paths;
}

/** Each throws an Error that says what was seen instead. */
export const STEPS: Readonly<Record<Flow, (scene: Scene) => Promise<void>>> = {
  async 'sign-in'(scene) {
    const visit = await visitApp(scene, scene.paths.login);
    expect(visit.passed.includes('login-page'), 'the login page was not shown', visit);
    expect(visit.status === 200, 'the app does not answer 200 after the sign-in', visit);
  },
  async claims(scene) {
    const visit = await visitApp(scene, scene.paths.claims);
    for (const claim of [USER.name, USER.email]) {
      expect(visit.text.includes(claim), `the app does not show ${claim}`, visit);
    }
  },
  async API(scene) {
    await callApi(scene);
  },
  async 'other API'(scene) {
    const visit = await visitApp(scene, scene.paths.otherApi);
    expect(visit.status === 403, `another app's API answers ${visit.status}`, visit);
    expect(visit.text.includes('client_not_allowed'), 'the refusal is another one', visit);
  },
  async refresh(scene) {
    await renewToken(scene, scene.paths.refresh);
  },
  async 'silent renew'(scene) {
    await renewToken(scene, scene.paths.renew);
  },
  async 'sign-out'(scene) {
    const visit = await visitApp(scene, scene.paths.logout);
    expect(visit.passed.includes('logout-page'), 'the sign-out page was not shown', visit);
    const after = await visitApp(scene, scene.paths.claims);
    expect(!after.text.includes(USER.name), 'the app still shows the user', after);
    const again = await visitApp(scene, scene.paths.login);
    expect(again.passed.includes('login-page'), 'the session at Lanyard goes on', again);
  },
};

/** An app on the user's device may listen on another port for the end of a sign-in. */
async function visitApp({ browser, issuer, appUrl }: Scene, path: string): Promise<Visit> {
  const visit = await browser.open(`${appUrl}${path}`);
  expect(new URL(visit.url).origin !== issuer, 'it does not end at the app', visit);
  return visit;
}

/** @returns the id of the token that the app uses */
async function callApi(scene: Scene): Promise<string> {
  const visit = await visitApp(scene, scene.paths.api);
  expect(visit.status === 200, `the API answers ${visit.status}`, visit);
  const token = /"token":\s*"([^"]+)"/.exec(visit.text.replaceAll('&quot;', '"'))?.[1];
  if (token === undefined) throw new Error(seen("the app does not show the API's answer", visit));
  return token;
}

async function renewToken(scene: Scene, path: string): Promise<void> {
  const before = await callApi(scene);
  const visit = await visitApp(scene, path);
  expect(visit.status === 200, `the app answers ${visit.status}`, visit);
  const after = await callApi(scene);
  if (after === before) throw new Error(seen('the token is still the same', visit));
}

function expect(condition: boolean, text: string, visit: Visit): void {
  if (!condition) throw new Error(seen(text, visit));
}

function seen(text: string, { url, status, text: page }: Visit): string {
  const words = page
    .replace(/<(style|script|head)[\s\S]*?<\/\1>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
  return `${text}: ${status} ${url} ${words.slice(0, 600)}`;
}
