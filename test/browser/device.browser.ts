// The pages of the device flow (RFC 8628) in a real browser, and consent to what is asked in detail (RFC 9396), claim by claim, or
// by an app that registered itself.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { authorizationUrl, CODE_FLOW, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { inspectPage } from '../support/page-checks.ts';
import { ALICE, type BrowserWindow, ORDERS, openStage, type Stage, signIn } from '../support/stage.ts';

const PAYMENTS = 'https://payments.example';
const WORD = { type: 'string' };
const PAYMENT = { type: 'object', properties: { amount: WORD, currency: WORD, creditor: WORD } };

let stage: Stage;
let window: BrowserWindow;
let page: Page;
let tv: TestClient;

beforeAll(async () => {
  stage = await openStage({ LANYARD_DANGER_OPEN_REGISTRATION: 'true' });
  const { admin } = stage.server;
  tv = await admin.createClient({ ...PUBLIC, client_name: 'Television', grant_types: [DEVICE_GRANT] });
  await admin.allow(tv.clientId, ORDERS, ['orders:read']);
  await admin.createApi(PAYMENTS, {
    name: 'Payments',
    scopes: ['pay'],
    self_registered_clients: { scopes: ['pay'] },
    authorization_details_types: { payment: { description: 'Start one payment', schema: PAYMENT } },
  });
});
afterAll(() => stage?.stop());
beforeEach(async () => {
  window = await stage.openWindow({});
  page = window.page;
});
afterEach(async () => {
  expect(window.refusals).toEqual([]);
  await window.context.close();
});

test('a person types the code, sees who asks for what, allows, signs in, and the device has its token', async () => {
  const { issuer } = stage.server;
  const form = { scope: 'openid orders:read', resource: ORDERS };
  const { body } = await postForm(`${issuer}/oauth2/device_authorization`, tv, form);
  await page.goto(body.verification_uri as string);
  expect(await inspectPage(page, 'user-code')).toEqual([]);
  await page.fill('#user-code', 'BCDF-GHJK');
  await page.keyboard.press('Enter');
  expect(await inspectPage(page, 'user-code-wrong')).toEqual([]);
  await page.fill('#user-code', body.user_code as string);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#device-confirm');
  const confirmation = await page.locator('main').textContent();
  for (const words of ['Television', body.user_code as string, 'Orders', 'orders:read']) {
    expect(confirmation).toContain(words);
  }
  expect(await inspectPage(page, 'device-confirm')).toEqual([]);
  await page.click('#device-confirm');
  await signIn(page, ALICE);
  await page.waitForSelector('#device-done');
  expect(await inspectPage(page, 'device-done')).toEqual([]);
  const token = await requestToken(issuer, tv, { grant_type: DEVICE_GRANT, device_code: body.device_code as string });
  expect(token.status).toBe(200);
});

test('consent names each detail and each claim', async () => {
  const app = await stage.server.admin.createClient({
    ...CODE_FLOW,
    client_name: 'Bookkeeper',
    authorization_details_types: ['payment'],
  });
  await stage.server.admin.allow(app.clientId, PAYMENTS, ['pay']);
  const detail = { type: 'payment', amount: '12.50', currency: 'EUR', creditor: 'Corner Shop' };
  await page.goto(
    authorizationUrl(stage.server.issuer, {
      client_id: app.clientId,
      code_challenge: 'x'.repeat(43),
      code_challenge_method: 'S256',
      scope: 'openid pay',
      resource: PAYMENTS,
      authorization_details: JSON.stringify([detail]),
      claims: JSON.stringify({ userinfo: { email: { essential: true } } }),
    }),
  );
  await signIn(page, ALICE);
  await page.waitForSelector('#consent-page');
  const text = await page.locator('#consent-page').textContent();
  for (const words of ['Start one payment', 'amount', '12.50', 'creditor', 'Corner Shop', 'email']) {
    expect(text).toContain(words);
  }
  expect(await inspectPage(page, 'consent-details')).toEqual([]);
});

test('consent and the page for a device warn of software that registered itself', async () => {
  const registered = await fetch(`${stage.server.issuer}/oauth2/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...PUBLIC,
      grant_types: ['authorization_code', DEVICE_GRANT],
      redirect_uris: [REDIRECT_URI],
      client_name: 'Your Bank',
    }),
  });
  const { client_id: clientId } = (await registered.json()) as { client_id: string };
  await page.goto(
    authorizationUrl(stage.server.issuer, {
      client_id: clientId,
      code_challenge: 'x'.repeat(43),
      code_challenge_method: 'S256',
      scope: 'openid pay',
      resource: PAYMENTS,
    }),
  );
  await signIn(page, ALICE);
  await page.waitForSelector('#unverified');
  expect(await page.locator('#unverified').textContent()).toContain('app.example');
  expect(await inspectPage(page, 'consent-unverified')).toEqual([]);
  const { issuer } = stage.server;
  const asked = { scope: 'openid' };
  const { body } = await postForm(`${issuer}/oauth2/device_authorization`, { clientId, clientSecret: '' }, asked);
  await page.goto(body.verification_uri_complete as string);
  await page.waitForSelector('#device-confirm-page');
  expect(await page.locator('#unverified').textContent()).toContain('registered itself');
  expect(await inspectPage(page, 'device-unverified')).toEqual([]);
});
