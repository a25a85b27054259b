// Where a form leads in the end, in a real browser. Chromium checks CSP `form-action` along all redirects that follow a form, also
// those of the app: to its front end on another origin, or to an app on the device by a private scheme (RFC 8252 §7.1).

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { eventually } from '../support/patience.ts';
import { ALICE, BOB, type BrowserWindow, openStage, type Stage, signIn } from '../support/stage.ts';

let stage: Stage;
let window: BrowserWindow;
let page: Page;

beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.stop());
beforeEach(async () => {
  window = await stage.openWindow({});
  page = window.page;
  stage.received.length = 0;
});
afterEach(async () => {
  expect(window.refusals).toEqual([]);
  await window.context.close();
});

/** By the last path of the app: how the browser shows that it went on from there. */
const ENDS: Readonly<Record<string, () => Promise<unknown>>> = {
  '/onward': () => page.waitForSelector('#front-end'),
  '/bye-onward': () => page.waitForSelector('#front-end'),
  '/to-app': () => eventually(() => expect(window.launches).toEqual(['claude://signed-in'])),
  '/bye-to-app': () => eventually(() => expect(window.launches).toEqual(['com.example.app:/signed-out'])),
};
const reaches = async (path: string) => ENDS[path]?.();

const ask = (path: string, params: Record<string, string> = {}) =>
  page.goto(stage.authorizationUrl({ redirect_uri: `${stage.appUrl}${path}`, ...params }));

async function allow(): Promise<void> {
  await page.waitForSelector('#consent-page');
  await page.click('#consent-allow');
}

describe.each(['/onward', '/to-app'])('the callback redirects: %s', (path) => {
  test('after Allow', async () => {
    await ask(path, { prompt: 'login consent' });
    await signIn(page, ALICE);
    await allow();
    await reaches(path);
    expect(stage.received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('after Sign in', async () => {
    await ask(path);
    await signIn(page, ALICE);
    await reaches(path);
    expect(stage.received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('after Cancel', async () => {
    await ask(path);
    await page.click('#cancel');
    await reaches(path);
    expect(stage.received.at(-1)?.params.get('error')).toBe('access_denied');
  });

  test('after a form_post response', async () => {
    await ask(path, { response_mode: 'form_post' });
    await signIn(page, ALICE);
    await reaches(path);
    expect(stage.received.at(-1)?.method).toBe('POST');
    expect(stage.received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('after another user has taken over, whose consent is remembered', async () => {
    await ask('/callback', { prompt: 'login consent' });
    await signIn(page, BOB);
    await allow();
    await page.waitForSelector('#app');
    await ask('/callback', { prompt: 'login' });
    await signIn(page, ALICE);
    await page.waitForSelector('#app');
    await ask(path, { prompt: 'login' });
    await signIn(page, BOB);
    await reaches(path);
    expect(stage.received.at(-1)?.params.get('code')).toBeTruthy();
  });
});

describe.each(['/bye-onward', '/bye-to-app'])('the address after a logout redirects: %s', (path) => {
  const logoutUrl = () =>
    `${stage.server.issuer}/oauth2/logout?${new URLSearchParams({
      client_id: stage.client.clientId,
      post_logout_redirect_uri: `${stage.appUrl}${path}`,
    })}`;

  test.each(['#logout-confirm', '#cancel'])('after %s', async (button) => {
    await ask('/callback');
    await signIn(page, ALICE);
    await page.waitForSelector('#app');
    await page.goto(logoutUrl());
    await page.click(button);
    await reaches(path);
  });

  test('without a session, at once', async () => {
    // Redirects that end at a private scheme lead to no page.
    await page.goto(logoutUrl(), { waitUntil: 'commit' }).catch((error: unknown) => {
      if (!String(error).includes('ERR_ABORTED')) throw error;
    });
    await reaches(path);
  });
});
