// What the browser tests need: Lanyard, a real Chromium, and a real app on other ports with a
// callback, and a front end to which some callbacks redirect.

import { createServer, type Server } from 'node:http';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { TestClient } from './admin.ts';
import { launchChromium } from './chromium.ts';
import { authorizationUrl, type Params } from './oauth.ts';
import { WAIT_MS } from './patience.ts';
import { startTestServer, type TestServer } from './server.ts';
import { pkcePair } from './user-agent.ts';

export const ORDERS = 'https://orders.example';
export const ALICE = { username: 'alice', password: 'correct horse battery' };
export const BOB = { username: 'bob', password: 'another pass phrase' };

export interface BrowserWindow {
  readonly context: BrowserContext;
  readonly page: Page;
  /** what the browser refused to do because of our Content-Security-Policy */
  readonly refusals: string[];
  /** addresses with a private scheme, to which the browser went */
  readonly launches: string[];
}

export interface Stage {
  readonly server: TestServer;
  readonly client: TestClient;
  /**
   * origin of the app: /callback and /bye show their path; the other paths redirect once more, see
   * ONWARD
   */
  readonly appUrl: string;
  readonly frontEndUrl: string;
  readonly codeVerifier: string;
  /** what the app has received, newest last */
  readonly received: { readonly method: string; readonly params: URLSearchParams }[];
  /** A browser without history, as wide as a phone. */
  openWindow(options?: { javaScriptEnabled?: boolean }): Promise<BrowserWindow>;
  /** Where the app sends its users to. */
  authorizationUrl(params?: Params): string;
  stop(): Promise<void>;
}

/** Where the app's own addresses redirect to; no registration names these. */
const ONWARD = {
  '/onward': 'another origin',
  '/bye-onward': 'another origin',
  '/to-app': 'claude://signed-in',
  '/bye-to-app': 'com.example.app:/signed-out',
} as const;

export async function openStage(env: Record<string, string> = {}): Promise<Stage> {
  const server = await startTestServer(env);
  const received: Stage['received'] = [];
  const frontEnd = await listen(() => ({ html: '<h1 id="front-end">Front end</h1>' }));
  // The same server under another name is another origin.
  const elsewhere = `${frontEnd.url.replace('127.0.0.1', 'localhost')}/`;
  const app = await listen((path, method, params) => {
    if (['/callback', '/onward', '/to-app'].includes(path)) received.push({ method, params });
    const onward = (ONWARD as Record<string, string>)[path];
    if (onward === undefined) return { html: `<h1 id="app">${path}</h1>` };
    return { location: onward === 'another origin' ? elsewhere : onward };
  });
  const client = await server.admin.createClient({
    client_name: 'Corner Shop',
    grant_types: ['authorization_code'],
    redirect_uris: ['/callback', '/onward', '/to-app'].map((path) => `${app.url}${path}`),
    post_logout_redirect_uris: ['/bye', '/bye-onward', '/bye-to-app'].map((path) => `${app.url}${path}`),
    client_uri: `${frontEnd.url}/`,
    policy_uri: 'https://shop.example/privacy',
    tos_uri: 'https://shop.example/terms',
  });
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['orders:read', 'orders:write'] });
  await server.admin.allow(client.clientId, ORDERS, ['orders:read', 'orders:write']);
  await server.admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com' });
  await server.admin.createUser(BOB.username, BOB.password);
  const browser = await launchChromium();
  const { verifier, challenge } = pkcePair();

  return {
    server,
    client,
    appUrl: app.url,
    frontEndUrl: frontEnd.url,
    codeVerifier: verifier,
    received,
    openWindow: (options) => openWindow(browser, options),
    authorizationUrl: (params = {}) =>
      authorizationUrl(server.issuer, {
        client_id: client.clientId,
        redirect_uri: `${app.url}/callback`,
        scope: 'openid profile email orders:read orders:write',
        resource: ORDERS,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        ...params,
      }),
    async stop() {
      await browser.close();
      app.close();
      frontEnd.close();
      await server.stop();
    },
  };
}

async function openWindow(browser: Browser, options: { javaScriptEnabled?: boolean } = {}): Promise<BrowserWindow> {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, ...options });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const refusals: string[] = [];
  const launches: string[] = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) refusals.push(message.text());
  });
  // Chromium reports the request, and then gives it to the operating system.
  page.on('request', (request) => {
    if (!/^(https?|data|blob|about):/.test(request.url())) launches.push(request.url());
  });
  return { context, page, refusals, launches };
}

export async function signIn(page: Page, user: { username: string; password: string }): Promise<void> {
  await page.fill('#username', user.username);
  await page.fill('#password', user.password);
  await page.click('#login-submit');
}

type Respond = (path: string, method: string, params: URLSearchParams) => { html?: string; location?: string };

async function listen(respond: Respond): Promise<{ url: string; close(): void }> {
  const http: Server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const url = new URL(request.url ?? '/', 'http://app.invalid');
    const params = body === '' ? url.searchParams : new URLSearchParams(body);
    const { html, location } = respond(url.pathname, request.method ?? '', params);
    if (location !== undefined) response.writeHead(302, { location });
    else response.setHeader('content-type', 'text/html');
    response.end(html);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, close: () => http.close() };
}
