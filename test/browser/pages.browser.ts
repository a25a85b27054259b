// The pages in a real browser, with a real app on another port: what a browser decides by itself (CSP, form-action along the
// redirects, cookies) and what a person sees. Screenshots go to coverage/screenshots.

import { createServer, type Server as HttpServer } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { requestToken, type TestClient } from '../support/admin.ts';
import { launchChromium } from '../support/chromium.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { pkcePair } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const USER = { username: 'alice', password: 'correct horse battery' };
const OTHER = { username: 'bob', password: 'another pass phrase' };
const SCREENSHOTS = new URL('../../coverage/screenshots/', import.meta.url).pathname;

let server: TestServer;
let browser: Browser;
let callback: HttpServer;
let callbackUrl: string;
/** what the app has received at its callback, newest last */
const received: { method: string; params: URLSearchParams }[] = [];
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '3' });
  callback = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', callbackUrl);
    let body = '';
    for await (const chunk of request) body += chunk;
    if (url.pathname === '/callback') {
      received.push({
        method: request.method ?? '',
        params: body === '' ? url.searchParams : new URLSearchParams(body),
      });
    }
    response.setHeader('content-type', 'text/html').end(`<h1 id="app">${url.pathname}</h1>`);
  });
  await new Promise<void>((resolve) => callback.listen(0, '127.0.0.1', resolve));
  callbackUrl = `http://127.0.0.1:${(callback.address() as { port: number }).port}`;
  app = await server.admin.createClient({
    client_name: 'Corner Shop',
    grant_types: ['authorization_code'],
    redirect_uris: [`${callbackUrl}/callback`],
    post_logout_redirect_uris: [`${callbackUrl}/bye`],
    policy_uri: 'https://shop.example/privacy',
  });
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['orders:read', 'orders:write'] });
  await server.admin.allow(app.clientId, ORDERS, ['orders:read', 'orders:write']);
  await server.admin.createUser(USER.username, USER.password, { email: 'alice@example.com' });
  await server.admin.createUser(OTHER.username, OTHER.password);
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  callback?.close();
  await server?.stop();
});

let context: BrowserContext;
let page: Page;
let refusedByPolicy: string[];

async function openBrowser(options: { javaScriptEnabled?: boolean } = {}): Promise<void> {
  context = await browser.newContext({ viewport: { width: 390, height: 844 }, ...options });
  page = await context.newPage();
  refusedByPolicy = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) refusedByPolicy.push(message.text());
  });
}

beforeEach(() => openBrowser());
afterEach(async () => {
  expect(refusedByPolicy).toEqual([]);
  await context.close();
});

const pkce = pkcePair();

function authorizationUrl(params: Record<string, string> = {}): string {
  return `${server.issuer}/oauth2/authorize?${new URLSearchParams({
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: `${callbackUrl}/callback`,
    scope: 'openid profile email orders:read orders:write',
    resource: ORDERS,
    state: 'a state',
    code_challenge: pkce.challenge,
    code_challenge_method: 'S256',
    ...params,
  })}`;
}

async function signIn(user: { username: string; password: string }): Promise<void> {
  await page.fill('#username', user.username);
  await page.fill('#password', user.password);
  await page.click('#login-submit');
}

/** Each page as a phone and a desktop show it, light and dark, and that nothing sticks out at 320 pixels. */
async function shoot(name: string): Promise<void> {
  for (const [device, width, height] of [
    ['phone', 390, 844],
    ['desktop', 1280, 800],
  ] as const) {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${SCREENSHOTS}${name}-${device}-${colorScheme}.png` });
    }
  }
  await page.setViewportSize({ width: 320, height: 640 });
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(320);
}

describe('signing in', () => {
  test('login, consent, and the app has a code that works', async () => {
    await page.goto(authorizationUrl());
    expect(await page.locator('#login-page').isVisible()).toBe(true);
    await shoot('login');
    await signIn({ ...USER, password: 'wrong' });
    expect(await page.locator('#login-fault').textContent()).toBe('Username or password is wrong.');
    expect(await page.inputValue('#username')).toBe(USER.username);
    expect(await page.inputValue('#password')).toBe('');
    await shoot('login-wrong');
    await signIn(USER);
    const consent = await page.locator('#consent-page').textContent();
    for (const words of ['Corner Shop', 'Orders', ORDERS, 'orders:read', 'orders:write', 'alice']) {
      expect(consent).toContain(words);
    }
    await shoot('consent');
    await page.click('#consent-allow');
    await page.waitForSelector('#app');
    const answer = received.at(-1)?.params;
    expect(answer?.get('state')).toBe('a state');
    const tokens = await requestToken(server.issuer, app, {
      grant_type: 'authorization_code',
      code: answer?.get('code') as string,
      redirect_uri: `${callbackUrl}/callback`,
      code_verifier: pkce.verifier,
    });
    expect(tokens.status).toBe(200);
  });

  test('consent is remembered: after the login form the browser goes straight to the app', async () => {
    await page.goto(authorizationUrl());
    await signIn(USER);
    await page.waitForSelector('#app');
    expect(received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('needs no JavaScript', async () => {
    await context.close();
    await openBrowser({ javaScriptEnabled: false });
    await page.goto(authorizationUrl({ prompt: 'consent' }));
    await signIn(USER);
    await page.click('#consent-allow');
    await page.waitForSelector('#app');
    expect(received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('cancelling leads back to the app with access_denied, from both pages', async () => {
    await page.goto(authorizationUrl());
    await page.click('#cancel');
    await page.waitForSelector('#app');
    expect(received.at(-1)?.params.get('error')).toBe('access_denied');
    await page.goto(authorizationUrl({ prompt: 'login consent' }));
    await signIn(OTHER);
    await page.click('#cancel');
    await page.waitForSelector('#app');
    expect(received.at(-1)?.params.get('error')).toBe('access_denied');
  });

  test('too many wrong passwords show how long to wait', async () => {
    await server.admin.createUser('carol', 'a good long password');
    await page.goto(authorizationUrl());
    for (let attempt = 0; attempt < 4; attempt++) await signIn({ username: 'carol', password: 'wrong' });
    expect(await page.locator('#login-fault').textContent()).toMatch(
      /^Too many attempts\. Try again in \d+ minutes\.$/,
    );
    await shoot('login-throttled');
  });

  test('another user may take over in the middle, through the form that the engine posts by itself', async () => {
    await page.goto(authorizationUrl());
    await signIn(USER);
    await page.waitForSelector('#app');
    await page.goto(authorizationUrl({ prompt: 'login' }));
    await signIn(OTHER);
    await page.waitForSelector('#consent-page');
    expect(await page.locator('#consent-page').textContent()).toContain('bob');
    await page.click('#consent-allow');
    await page.waitForSelector('#app');
    expect(received.at(-1)?.params.get('code')).toBeTruthy();
  });

  test('response_mode=form_post reaches the app', async () => {
    await page.goto(authorizationUrl({ response_mode: 'form_post' }));
    await signIn(USER);
    await page.waitForSelector('#app');
    expect(received.at(-1)).toMatchObject({ method: 'POST' });
    expect(received.at(-1)?.params.get('code')).toBeTruthy();
  });
});

describe('pages that end something', () => {
  test('an app that is not registered gets an error page, never a redirect', async () => {
    await page.goto(authorizationUrl({ client_id: 'nobody' }));
    expect(await page.locator('#error-code').textContent()).toBe('invalid_client');
    await shoot('error');
    await page.goto(authorizationUrl({ redirect_uri: 'https://evil.example/callback' }));
    expect(await page.locator('#error-page').isVisible()).toBe(true);
    expect(new URL(page.url()).origin).toBe(server.issuer);
  });

  test('a login page opened in another browser is refused, and says what to do', async () => {
    await page.goto(authorizationUrl());
    const address = page.url();
    const stranger = await (await browser.newContext()).newPage();
    await stranger.goto(address);
    expect(await stranger.locator('#error-page').textContent()).toContain('Go back to the app');
    await stranger.context().close();
  });

  test('logout asks, signs out and leads to the app', async () => {
    await page.goto(authorizationUrl());
    await signIn(USER);
    await page.waitForSelector('#app');
    const query = new URLSearchParams({
      client_id: app.clientId,
      post_logout_redirect_uri: `${callbackUrl}/bye`,
      state: 'later',
    });
    await page.goto(`${server.issuer}/oauth2/logout?${query}`);
    await shoot('logout');
    await page.click('#logout-confirm');
    await page.waitForSelector('#app');
    expect(page.url()).toBe(`${callbackUrl}/bye?state=later`);
    await page.goto(authorizationUrl());
    expect(await page.locator('#login-page').isVisible()).toBe(true);
  });

  test('logout without an app ends on a page of ours, also without a session and without JavaScript', async () => {
    await page.goto(`${server.issuer}/oauth2/logout`);
    await page.waitForSelector('#signed-out');
    await shoot('signed-out');
    await context.close();
    await openBrowser({ javaScriptEnabled: false });
    await page.goto(`${server.issuer}/oauth2/logout`);
    await page.click('button[type=submit]');
    await page.waitForSelector('#signed-out');
  });

  test('whoever stays signed in is told so', async () => {
    await page.goto(authorizationUrl());
    await signIn(USER);
    await page.waitForSelector('#app');
    await page.goto(`${server.issuer}/oauth2/logout?${new URLSearchParams({ client_id: app.clientId })}`);
    await page.click('#cancel');
    expect(await page.locator('#signed-out').textContent()).toContain('Still signed in');
  });
});

test('names that hold HTML or have no end stay text and inside the card', async () => {
  const client = await server.admin.createClient({
    client_name: `<img src=x onerror="document.title='owned'">${'Long'.repeat(30)}`,
    grant_types: ['authorization_code'],
    redirect_uris: [`${callbackUrl}/callback`],
  });
  await page.goto(
    authorizationUrl({ client_id: client.clientId, resource: '', scope: 'openid', login_hint: '"><b>x' }),
  );
  await page.waitForSelector('main');
  expect(await page.title()).not.toBe('owned');
  expect(await page.locator('main img, main b').count()).toBe(0);
  await shoot('login-long-name');
});
