// The same in a real Chromium, for apps that run in it.

import type { Page } from 'playwright-core';
import { launchChromium } from '../test/support/chromium.ts';
import { WAIT_MS } from '../test/support/patience.ts';
import type { Browser, Login } from './browser.ts';

/** By the `id` of a page of Lanyard: what its user does. */
const ACTIONS: Readonly<Record<string, (page: Page, user: Login) => Promise<void>>> = {
  async 'login-page'(page, { username, password }) {
    await page.fill('#username', username);
    await page.fill('#password', password);
    await page.click('#login-submit');
  },
  'consent-page': (page) => page.click('#consent-allow'),
  'logout-page': (page) => page.click('#logout-confirm'),
};

/** What the app shows when it has done what it was opened for; `data-status` says how it went, as an HTTP status. */
const RESULT = '#result[data-status]';

export async function openChromium(user: Login): Promise<Browser> {
  const chromium = await launchChromium();
  const page = await chromium.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const stops = [
    ...Object.keys(ACTIONS).map((id) => `main#${id}`),
    'main#error-page',
    'main#signed-out',
    RESULT,
  ].join();

  return {
    async open(url) {
      const passed: string[] = [];
      await page.goto(url);
      for (;;) {
        const stop = await page.waitForSelector(stops);
        const [id, status] = await Promise.all([stop.getAttribute('id'), stop.getAttribute('data-status')]);
        const act = ACTIONS[id ?? ''];
        if (act === undefined)
          return { url: page.url(), status: Number(status), text: (await stop.textContent()) ?? '', passed };
        passed.push(id as string);
        // The next page may have the same id, as the login page has after a wrong password.
        await Promise.all([page.waitForEvent('framenavigated'), act(page, user)]);
      }
    },
    close: () => chromium.close(),
  };
}
