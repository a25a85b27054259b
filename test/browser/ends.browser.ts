// The pages that end something, in a real browser: signing out, errors, pages that do not fit any more; and names that try to
// break out of the page.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { inspectPage } from '../support/page-checks.ts';
import { ALICE, type BrowserWindow, openStage, type Stage, signIn } from '../support/stage.ts';

let stage: Stage;
let window: BrowserWindow;
let page: Page;

beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.stop());
beforeEach(() => reopen());
afterEach(async () => {
  expect(window.refusals).toEqual([]);
  await window.context.close();
});

async function reopen(options: { javaScriptEnabled?: boolean } = {}): Promise<void> {
  await window?.context.close();
  window = await stage.openWindow(options);
  page = window.page;
}

/** Leaves the browser signed in, at the app. */
async function enter(): Promise<void> {
  await page.goto(stage.authorizationUrl());
  await signIn(page, ALICE);
  await page.waitForSelector('#consent-allow, #app');
  if (await page.locator('#consent-allow').isVisible()) await page.click('#consent-allow');
  await page.waitForSelector('#app');
}

function logoutUrl(params: Record<string, string> = {}): string {
  return `${stage.server.issuer}/oauth2/logout?${new URLSearchParams(params)}`;
}

const toApp = () => ({
  client_id: stage.client.clientId,
  post_logout_redirect_uri: `${stage.appUrl}/bye`,
  state: 'later & more',
});

test('logout asks, signs out and leads to the app', async () => {
  await enter();
  await page.goto(logoutUrl(toApp()));
  expect(await inspectPage(page, 'logout')).toEqual([]);
  await page.click('#logout-confirm');
  await page.waitForSelector('#app');
  expect(new URL(page.url()).pathname).toBe('/bye');
  expect(new URL(page.url()).searchParams.get('state')).toBe('later & more');
  await page.goto(stage.authorizationUrl());
  expect(await page.locator('#login-page').isVisible()).toBe(true);
});

test('logout without an app ends on a page of ours', async () => {
  await enter();
  await page.goto(logoutUrl());
  await page.click('#logout-confirm');
  await page.waitForSelector('#signed-out');
  expect(await page.locator('#signed-out').textContent()).toContain('You are signed out');
  expect(await inspectPage(page, 'signed-out')).toEqual([]);
});

test.each([true, false])('logout without a session leads on, JavaScript %p', async (javaScriptEnabled) => {
  await reopen({ javaScriptEnabled });
  await page.goto(logoutUrl());
  await page.waitForSelector('#signed-out');
  await page.goto(logoutUrl(toApp()));
  await page.waitForSelector('#app');
  expect(new URL(page.url()).pathname).toBe('/bye');
});

test.each([
  ['asked by an app', () => ({ client_id: stage.client.clientId })],
  ['asked without an app', () => ({})],
])('a user who cancels the logout is told so and stays signed in: %s', async (_by, params) => {
  await enter();
  await page.goto(logoutUrl(params()));
  await page.click('#cancel');
  expect(await page.locator('#signed-out').textContent()).toContain('Still signed in');
  expect(await inspectPage(page, 'still-signed-in')).toEqual([]);
  await page.goto(stage.authorizationUrl());
  expect(await page.locator('#login-page').count()).toBe(0);
});

test('an app that is not registered gets an error page, never a redirect', async () => {
  await page.goto(stage.authorizationUrl({ client_id: 'unknown' }));
  expect(await page.locator('#error-code').textContent()).toBe('invalid_client');
  expect(await inspectPage(page, 'error')).toEqual([]);
  await page.goto(stage.authorizationUrl({ redirect_uri: 'https://evil.example/callback' }));
  expect(await page.locator('#error-page').textContent()).toContain('has not registered');
  expect(new URL(page.url()).origin).toBe(stage.server.issuer);
});

test('a login page opened in another browser is refused, and leads to the app', async () => {
  await page.goto(stage.authorizationUrl());
  const address = page.url();
  await reopen();
  await page.goto(address);
  expect(await page.locator('#error-code').textContent()).toBe('interaction_not_found');
  expect(await page.locator('#restart').getAttribute('href')).toBe(`${stage.frontEndUrl}/`);
});

test('a page that has become stale in another tab starts again where it was', async () => {
  await enter();
  await page.goto(stage.authorizationUrl({ prompt: 'login', state: 'state of the tab' }));
  const otherTab = await window.context.newPage();
  await otherTab.goto(logoutUrl());
  await otherTab.click('#logout-confirm');
  await otherTab.waitForSelector('#signed-out');
  await signIn(page, ALICE);
  expect(await page.locator('#error-page').textContent()).toContain('no longer valid');
  expect(await inspectPage(page, 'stale')).toEqual([]);
  await page.click('#restart');
  await signIn(page, ALICE);
  await page.waitForSelector('#app');
  expect(stage.received.at(-1)?.params.get('state')).toBe('state of the tab');
});

test('going back to a page that is done shows a page that says what to do', async () => {
  await page.goto(stage.authorizationUrl());
  const address = page.url();
  await signIn(page, ALICE);
  await page.waitForSelector('#app');
  await page.goto(address);
  expect(await page.locator('#error-page').textContent()).toContain('Go back to the app');
});

test('names that hold HTML or have no end stay text and inside the card', async () => {
  const api = 'https://api.example/with/a/path/that/does/not/end/and/goes/on/and/on/without/a/place/to/break';
  const scopes = Array.from({ length: 40 }, (_, n) => `scope:${n}:${'long'.repeat(n % 12)}<b>`);
  const client = await stage.server.admin.createClient({
    client_name: `<img src=x onerror="document.title='owned'">${'Long'.repeat(30)}`,
    grant_types: ['authorization_code'],
    redirect_uris: [`${stage.appUrl}/callback`],
  });
  await stage.server.admin.createApi(api, { name: `</h2><script>document.title='owned'</script>`, scopes });
  await stage.server.admin.allow(client.clientId, api, scopes);
  const request = { client_id: client.clientId, resource: api, scope: `openid ${scopes.join(' ')}` };
  await page.goto(stage.authorizationUrl({ ...request, login_hint: '"><b>x' }));
  expect(await page.inputValue('#username')).toBe('"><b>x');
  expect(await inspectPage(page, 'login-long')).toEqual([]);
  await signIn(page, ALICE);
  await page.waitForSelector('#consent-page');
  expect(await inspectPage(page, 'consent-long')).toEqual([]);
  expect(await page.title()).not.toBe('owned');
  expect(await page.locator('main :is(img, b, script)').count()).toBe(0);
  expect(await page.locator('#consent-page li').count()).toBe(41);
});
