// Signing in and allowing, in a real browser: what it decides by itself (CSP along the redirects, cookies) and what a person sees.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { requestToken } from '../support/admin.ts';
import { inspectPage } from '../support/page-checks.ts';
import { ALICE, BOB, type BrowserWindow, ORDERS, openStage, type Stage, signIn } from '../support/stage.ts';

let stage: Stage;
let window: BrowserWindow;
let page: Page;

beforeAll(async () => {
  stage = await openStage({ LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '3' });
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

const lastAnswer = () => stage.received.at(-1)?.params;

test('login, consent, and the app has a code that works', async () => {
  await page.goto(stage.authorizationUrl());
  expect(await page.locator('#login-page').isVisible()).toBe(true);
  expect(await inspectPage(page, 'login')).toEqual([]);
  await signIn(page, { ...ALICE, password: 'wrong' });
  expect(await page.locator('#login-fault').textContent()).toBe('Username or password is wrong.');
  expect(await page.inputValue('#username')).toBe(ALICE.username);
  expect(await page.inputValue('#password')).toBe('');
  expect(await page.locator('#password').evaluate('document.activeElement.id')).toBe('password');
  expect(await inspectPage(page, 'login-wrong')).toEqual([]);
  await signIn(page, ALICE);
  const consent = await page.locator('#consent-page').textContent();
  for (const words of ['Corner Shop', 'Orders', ORDERS, 'orders:read', 'orders:write', 'alice', '127.0.0.1']) {
    expect(consent).toContain(words);
  }
  expect(await inspectPage(page, 'consent')).toEqual([]);
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('state')).toBe('a state');
  const tokens = await requestToken(stage.server.issuer, stage.client, {
    grant_type: 'authorization_code',
    code: lastAnswer()?.get('code') as string,
    redirect_uri: `${stage.appUrl}/callback`,
    code_verifier: stage.codeVerifier,
  });
  expect(tokens.status).toBe(200);
});

test('consent is remembered: after the login form the browser goes straight to the app', async () => {
  await page.goto(stage.authorizationUrl());
  await signIn(page, ALICE);
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test('an app that asks by POST meets the session: SameSite cookies stay behind with the form, and come along after it', async () => {
  await page.goto(stage.authorizationUrl());
  await signIn(page, ALICE);
  await page.waitForSelector('#app');
  const { origin, pathname, searchParams } = new URL(stage.authorizationUrl({ state: 'by POST' }));
  const inputs = [...searchParams].map(([name, value]) => `<input name="${name}" value="${value}">`).join('');
  await page.setContent(
    `<form method="post" action="${origin}${pathname}">${inputs}<button id="go">Go</button></form>`,
  );
  await page.click('#go');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('state')).toBe('by POST');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test('a callback may lead on to the front end of the app', async () => {
  await page.goto(stage.authorizationUrl({ redirect_uri: `${stage.appUrl}/onward` }));
  await signIn(page, ALICE);
  await page.waitForSelector('#front-end');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test('a repeated consent shows what was allowed before', async () => {
  await page.goto(stage.authorizationUrl({ prompt: 'consent' }));
  await signIn(page, ALICE);
  expect(await page.locator('#consent-page').textContent()).toMatch(/allowed before:[\s\S]*orders:read/);
  expect(await inspectPage(page, 'consent-again')).toEqual([]);
  await page.goto(stage.authorizationUrl({ scope: 'openid phone orders:read' }));
  expect(await page.locator('#consent-page > section').allTextContents()).toEqual([
    expect.stringMatching(/Read your phone number/),
  ]);
  expect(await page.locator('details').textContent()).toContain('orders:read');
  await page.click('summary');
  expect(await inspectPage(page, 'consent-more')).toEqual([]);
});

test('an app that wants to keep its access is asked about that by itself, once', async () => {
  const app = await stage.server.admin.createClient({
    client_name: 'Night Watch',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [`${stage.appUrl}/callback`],
  });
  const signInTo = async (scope: string) => {
    await page.goto(stage.authorizationUrl({ client_id: app.clientId, scope, resource: undefined }));
    if (await page.locator('#login-page').isVisible()) await signIn(page, ALICE);
  };
  await signInTo('openid');
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  await signInTo('openid offline_access');
  expect(await page.locator('#consent-page > section').allTextContents()).toEqual([
    expect.stringMatching(/Keep this access after you sign out/),
  ]);
  expect(await inspectPage(page, 'consent-offline')).toEqual([]);
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  await signInTo('openid offline_access');
  await page.waitForSelector('#app');
});

test('needs no JavaScript', async () => {
  await reopen({ javaScriptEnabled: false });
  await page.goto(stage.authorizationUrl({ prompt: 'consent' }));
  await signIn(page, ALICE);
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test('needs no mouse', async () => {
  await page.goto(stage.authorizationUrl({ prompt: 'consent' }));
  // The page puts the focus where typing begins, a moment after it was loaded.
  await page.waitForFunction("document.activeElement?.id === 'username'");
  await page.keyboard.type(ALICE.username);
  await page.keyboard.press('Tab');
  await page.keyboard.type(ALICE.password);
  await page.keyboard.press('Enter');
  await page.locator('#consent-allow').focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test('cancelling leads back to the app with access_denied, from both pages', async () => {
  await page.goto(stage.authorizationUrl());
  await page.click('#cancel');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('error')).toBe('access_denied');
  await page.goto(stage.authorizationUrl({ prompt: 'login consent' }));
  await signIn(page, BOB);
  await page.waitForSelector('#consent-page');
  await page.click('#cancel');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('error')).toBe('access_denied');
});

test('too many wrong passwords show how long to wait', async () => {
  await stage.server.admin.createUser('carol', 'a good long password');
  await page.goto(stage.authorizationUrl());
  for (let attempt = 0; attempt < 4; attempt++) await signIn(page, { username: 'carol', password: 'wrong' });
  expect(await page.locator('#login-fault').textContent()).toMatch(/^Too many attempts\. Try again in \d+ minutes\.$/);
  expect(await inspectPage(page, 'login-throttled')).toEqual([]);
});

test('after a wrong password the page can be reloaded, and opened from the address bar', async () => {
  await page.goto(stage.authorizationUrl());
  await signIn(page, { ...BOB, password: 'wrong' });
  await page.waitForSelector('#login-fault');
  await page.reload();
  expect(await page.locator('#login-fault').textContent()).toContain('wrong');
  await page.goto(page.url());
  expect(await page.locator('#login-page').isVisible()).toBe(true);
  expect(await page.locator('#login-fault').count()).toBe(0);
  await signIn(page, BOB);
  await page.waitForSelector('#consent-page');
});

test('another user may take over in the middle, and is asked for a consent of his own', async () => {
  await page.goto(stage.authorizationUrl());
  await signIn(page, ALICE);
  await page.waitForSelector('#app');
  await page.goto(stage.authorizationUrl({ prompt: 'login' }));
  await signIn(page, BOB);
  await page.waitForSelector('#consent-page');
  expect(await page.locator('#consent-page').textContent()).toContain('bob');
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  expect(lastAnswer()?.get('code')).toBeTruthy();
});

test.each([true, false])(
  'who takes over and has allowed before goes straight to the app, JavaScript %p',
  async (javaScriptEnabled) => {
    await reopen({ javaScriptEnabled });
    await page.goto(stage.authorizationUrl());
    await signIn(page, ALICE);
    await page.waitForSelector('#app');
    stage.received.length = 0;
    await page.goto(stage.authorizationUrl({ prompt: 'login' }));
    await signIn(page, BOB);
    if (!javaScriptEnabled) await page.click('#continue');
    await page.waitForSelector('#app');
    expect(lastAnswer()?.get('code')).toBeTruthy();
  },
);

test.each([true, false])('response_mode=form_post reaches the app, JavaScript %p', async (javaScriptEnabled) => {
  await reopen({ javaScriptEnabled });
  await page.goto(stage.authorizationUrl({ response_mode: 'form_post', state: '"><b>&amp;' }));
  await signIn(page, ALICE);
  if (!javaScriptEnabled) {
    // There is nothing to take a picture of while the one page goes and the other comes.
    await page.waitForSelector('#continue');
    await page.screenshot({ path: 'coverage/screenshots/form-post-phone-light.png' });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.screenshot({ path: 'coverage/screenshots/form-post-phone-dark.png' });
    await page.click('#continue');
  }
  await page.waitForSelector('#app');
  expect(stage.received.at(-1)?.method).toBe('POST');
  expect(lastAnswer()?.get('code')).toBeTruthy();
  expect(lastAnswer()?.get('state')).toBe('"><b>&amp;');
});
