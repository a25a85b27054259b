// Every page, on a phone and a desktop, with contents that have no end: nothing is cramped, nothing needs scrolling to the side.

import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { postForm, type TestClient } from '../support/admin.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { authorizationUrl, PUBLIC } from '../support/oauth.ts';
import { inspectPage } from '../support/page-checks.ts';
import { ALICE, type BrowserWindow, openStage, type Stage, signIn } from '../support/stage.ts';

const PAYMENTS = 'https://payments.example/an/address/that/does/not/end/and/has/no/place/at/which/a/line/could/break';
const LONG = 'a name without a blank that '.repeat(3).replaceAll(' ', '-');
const VIEWS = new URL('../../src/interaction/views/', import.meta.url);

/** RFC 9396 §2 */
const PAYMENT = {
  type: 'payment_initiation',
  locations: [PAYMENTS],
  instructedAmount: { currency: 'EUR', amount: '123.50' },
  creditorName: 'Merchant A',
  creditorAccount: { bic: 'ABCIDEFFXXX', iban: 'DE02100100109307118603' },
  remittanceInformationUnstructured: 'Ref Number Merchant',
};

/** of one blue pixel */
const LOGO = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPj/HwADBwIAMCbHYQAAAABJRU5ErkJggg==',
  'base64',
);

let stage: Stage;
let logoHost: Server;
let window: BrowserWindow;
let page: Page;
let app: TestClient;
const seen = new Set<string>();

beforeAll(async () => {
  logoHost = createServer((request, response) => response.end(request.url === '/logo.png' ? LOGO : 'no image'));
  await new Promise<void>((resolve) => logoHost.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(logoHost.address() as AddressInfo).port}`;
  stage = await openStage({ LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host });
  const { admin } = stage.server;
  app = await admin.createClient({
    ...PUBLIC,
    client_name: LONG,
    grant_types: ['authorization_code', DEVICE_GRANT],
    redirect_uris: [`${stage.appUrl}/callback`],
    client_uri: stage.frontEndUrl,
    logo_uri: `http://${host}/logo.png`,
    policy_uri: 'https://shop.example/privacy',
    tos_uri: 'https://shop.example/terms',
    authorization_details_types: ['payment_initiation'],
  });
  const open = { type: 'object', additionalProperties: true };
  await admin.createApi(PAYMENTS, {
    name: LONG,
    scopes: ['pay'],
    authorization_details_types: { payment_initiation: { description: 'Start one payment', schema: open } },
  });
  await admin.allow(app.clientId, PAYMENTS, ['pay']);
});
afterAll(async () => {
  logoHost?.close();
  await stage?.stop();
});
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

async function inspect(id: string, name = id): Promise<void> {
  await page.waitForSelector(`main#${id}`);
  expect(await inspectPage(page, `every-${name}`)).toEqual([]);
  seen.add(id);
}

const ask = (details: object[], params: Record<string, string> = {}) =>
  page.goto(
    authorizationUrl(stage.server.issuer, {
      client_id: app.clientId,
      redirect_uri: `${stage.appUrl}/callback`,
      code_challenge: 'x'.repeat(43),
      code_challenge_method: 'S256',
      scope: 'openid pay',
      resource: PAYMENTS,
      authorization_details: JSON.stringify(details),
      ...params,
    }),
  );

test('login and consent: the payment of RFC 9396 can be read, and "Allow" is where it is seen', async () => {
  await ask([PAYMENT]);
  expect(await page.evaluate('document.querySelector(".logo").naturalWidth')).toBe(1);
  await inspect('login-page', 'login');
  await signIn(page, ALICE);
  await inspect('consent-page', 'payment');
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const { y } = (await page.locator('#consent-allow').boundingBox()) ?? { y: Number.NaN };
    expect(y).toBeLessThan(1100);
  }
  const text = await page.locator('.detail').textContent();
  for (const words of ['EUR\u00a0123.50', 'creditorAccount › iban', 'DE02100100109307118603'])
    expect(text).toContain(words);
  await page.click('.detail summary');
  expect(JSON.parse((await page.locator('.detail pre').textContent()) ?? '')).toEqual(PAYMENT);
  await inspect('consent-page', 'payment-exact');
});

test('consent to details with names that do not end', async () => {
  const nested = { [LONG]: { [LONG]: [LONG, { [LONG]: 'x'.repeat(400) }] } };
  await ask([{ type: 'payment_initiation', ...nested }, PAYMENT, PAYMENT]);
  await signIn(page, ALICE);
  await page.waitForSelector('#consent-page');
  for (const summary of await page.locator('.detail summary').all()) await summary.click();
  await inspect('consent-page', 'long-details');
});

test('the device pages', async () => {
  const form = { scope: 'openid pay', resource: PAYMENTS, authorization_details: JSON.stringify([PAYMENT]) };
  const { body } = await postForm(`${stage.server.issuer}/oauth2/device_authorization`, app, form);
  await page.goto(`${stage.server.issuer}/oauth2/device`);
  await inspect('user-code-page');
  await page.fill('#user-code', body.user_code as string);
  await page.keyboard.press('Enter');
  await inspect('device-confirm-page');
  await page.click('.detail summary');
  await inspect('device-confirm-page', 'device-exact');
  await page.click('#device-confirm');
  await signIn(page, ALICE);
  await inspect('device-done');
});

test('signing out, and what this server is', async () => {
  await ask([PAYMENT]);
  await signIn(page, ALICE);
  await page.click('#consent-allow');
  await page.waitForSelector('#app');
  await page.goto(stage.server.issuer);
  expect(await page.locator('.way').getAttribute('href')).toBe(stage.frontEndUrl);
  await inspect('start-page', 'start-signed-in');
  await page.goto(`${stage.server.issuer}/oauth2/logout?client_id=${app.clientId}`);
  await inspect('logout-page');
  await page.click('#logout-confirm');
  await inspect('signed-out');
  await page.click('#start');
  await inspect('start-page');
  await page.click('#device');
  await page.waitForSelector('#user-code-page');
});

test('a logo that cannot be had leaves no trace', async () => {
  const path = `/clients/${app.clientId}`;
  const { logo_uri: logoUri } = (await stage.server.admin.request('GET', path)).body;
  await stage.server.admin.request('PATCH', path, { logo_uri: String(logoUri).replace('logo.png', 'missing') });
  await ask([PAYMENT]);
  const { height } = (await page.locator('.logo').boundingBox()) ?? { height: 0 };
  expect(height).toBe(0);
  await inspect('login-page', 'login-missing-logo');
  await page.reload();
  expect(await page.locator('.logo').count()).toBe(0);
});

test('an error', async () => {
  await ask([PAYMENT], { client_id: LONG });
  await inspect('error-page');
  await page.click('#start');
  await page.waitForSelector('#start-page');
});

test('the page that submits a form by itself, where it cannot', async () => {
  await reopen({ javaScriptEnabled: false });
  await ask([PAYMENT], { response_mode: 'form_post' });
  await page.click('#cancel');
  await inspect('form-post-page');
});

test('no page was left out', () => {
  const ids = readdirSync(VIEWS, { encoding: 'utf8', recursive: true })
    .filter((name) => name.endsWith('.eta'))
    .flatMap((name) => /<main id="([^"]+)"/.exec(readFileSync(new URL(name, VIEWS), 'utf8'))?.[1] ?? []);
  expect(ids.length).toBeGreaterThan(8);
  expect([...seen].sort()).toEqual(ids.sort());
});
