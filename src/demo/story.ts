// The story: operators, apps, a user and two APIs, step by step. Each function is a chapter, and returns what later ones need.

import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeJwt } from 'jose';
import { boundClientId } from '../client-binding.ts';
import { createBrowser } from './browser.ts';
import { allow, CALLBACK, type Fixtures, policyPath, register, USER } from './fixtures.ts';
import {
  type Admin,
  type ClientCredentials,
  callApi,
  createAdmin,
  introspect,
  requestToken,
  revoke,
} from './requests.ts';
import { type Api, BILLING, ORDERS, startBilling, startOrders } from './resource-servers.ts';
import type { Transcript } from './steps.ts';

export interface Stage {
  readonly issuer: string;
  readonly admin: ClientCredentials;
  readonly transcript: Transcript;
  /** receives what must be stopped when the story ends, however it ends */
  readonly cleanUps: AsyncDisposableStack;
}

interface Apis {
  readonly orders: Api;
  readonly billing: Api;
}

/** @throws UnexpectedOutcome at the first step that does not do what it should */
export async function tellStory(stage: Stage): Promise<void> {
  const admin = await createAdmin(stage.issuer, stage.admin);
  const fixtures = await register(stage.transcript, admin);
  const token = await obtainOwnToken(stage, fixtures);
  const userToken = await signInUser(stage, fixtures);
  const apis = await startApis(stage, fixtures);
  await callOrders(stage, admin, fixtures, apis, { token, userToken });
  const billingToken = await callBilling(stage, admin, fixtures, apis, token);
  await showIntrospection(stage, fixtures, userToken);
  await takeAccessAway(stage, admin, fixtures, apis, { token, userToken, billingToken });
}

async function obtainOwnToken({ issuer, transcript }: Stage, { appA }: Fixtures): Promise<string> {
  transcript.chapter('The app shop gets a token for itself (client_credentials)');
  const answer = await transcript.step('for "orders"', '200', () =>
    requestToken(issuer, appA, { grant_type: 'client_credentials', resource: ORDERS }),
  );
  const token = String(answer.access_token);
  await transcript.step('the token names its client', 'shop', async () => ({
    observed: boundClientId(decodeJwt(token)),
    value: undefined,
  }));
  await transcript.step('for "billing": there is no policy row, so there is no token', '400 invalid_target', () =>
    requestToken(issuer, appA, { grant_type: 'client_credentials', resource: BILLING }),
  );
  return token;
}

async function signInUser({ issuer, transcript }: Stage, { appA }: Fixtures): Promise<string> {
  transcript.chapter('The app shop gets a token for alice (authorization code + PKCE, through the real pages)');
  const browser = createBrowser(issuer);
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const authorizationUrl = `${issuer}/oauth2/authorize?${new URLSearchParams({
    client_id: appA.clientId,
    response_type: 'code',
    redirect_uri: CALLBACK,
    scope: 'openid orders:read',
    resource: ORDERS,
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })}`;
  const see = async (visit: ReturnType<typeof browser.open>) => {
    const page = await visit;
    return { observed: `${page.status} ${page.leavesTo === undefined ? page.id : page.leavesTo.host}`, value: page };
  };

  const login = await transcript.step('shop sends the browser to Lanyard', '200 login-page', () =>
    see(browser.open(authorizationUrl)),
  );
  await transcript.step('a wrong password', '403 login-page', () =>
    see(browser.submit(login, 'login-submit', { ...USER, password: 'incorrect horse' })),
  );
  const consent = await transcript.step('the right one', '200 consent-page', () =>
    see(browser.submit(login, 'login-submit', USER)),
  );
  const allowed = await transcript.step('alice allows it, and is sent back to shop', '303 shop.example', () =>
    see(browser.submit(consent, 'consent-allow')),
  );
  const back = allowed.leavesTo?.searchParams;
  await transcript.step('the answer is for this request, of this issuer (RFC 9207)', 'state and iss fit', async () => {
    const fits = back?.get('state') === state && back.get('iss') === issuer;
    return { observed: fits ? 'state and iss fit' : 'they do not fit', value: undefined };
  });
  const answer = await transcript.step('shop exchanges the code', '200', () =>
    requestToken(issuer, appA, {
      grant_type: 'authorization_code',
      code: back?.get('code') ?? '',
      redirect_uri: CALLBACK,
      code_verifier: verifier,
    }),
  );
  return String(answer.access_token);
}

async function startApis({ issuer, cleanUps }: Stage, { billingApi }: Fixtures): Promise<Apis> {
  const orders = await startOrders(issuer);
  cleanUps.defer(orders.stop);
  const billing = await startBilling(issuer, billingApi);
  cleanUps.defer(billing.stop);
  return { orders, billing };
}

async function callOrders(
  { issuer, transcript }: Stage,
  admin: Admin,
  { appA }: Fixtures,
  { orders }: Apis,
  { token, userToken }: { token: string; userToken: string },
): Promise<void> {
  transcript.chapter('The API "orders" (Koa, verifies JWTs by itself, its guard accepts shop)');
  await transcript.step("shop's own token", '200', () => callApi(orders.url, token));
  const greeting = await transcript.step("shop's token for alice", '200', () => callApi(orders.url, userToken));
  transcript.tell(`the API sees: ${JSON.stringify(greeting)}`);
  await transcript.step('no token', '401 missing_token', () => callApi(orders.url));
  await transcript.step('a string that is not a token', '401 invalid_token', () => callApi(orders.url, 'letmein'));

  const path = `/resource-servers/${encodeURIComponent(ORDERS)}`;
  await transcript.step('an operator sets the lifetime of its tokens to one second', '200', () =>
    admin.request('PATCH', path, { access_token_ttl_seconds: 1 }),
  );
  const brief = await transcript.step('shop gets such a token', '200', () =>
    requestToken(issuer, appA, { grant_type: 'client_credentials', resource: ORDERS }),
  );
  await transcript.step('... and it has expired', '401 invalid_token', async () => {
    const { exp = 0 } = decodeJwt(String(brief.access_token));
    await sleep(Math.max(0, exp * 1000 - Date.now()));
    return callApi(orders.url, String(brief.access_token));
  });
  await transcript.step('back to the default lifetime', '200', () =>
    admin.request('PATCH', path, { access_token_ttl_seconds: null }),
  );
}

async function callBilling(
  { issuer, transcript }: Stage,
  admin: Admin,
  { appA, appB }: Fixtures,
  { billing }: Apis,
  ordersToken: string,
): Promise<string> {
  transcript.chapter('The API "billing" (Express, asks Lanyard about every token, its guard accepts reports)');
  const ofB = await transcript.step('reports gets a token', '200', () =>
    requestToken(issuer, appB, { grant_type: 'client_credentials', resource: BILLING }),
  );
  await transcript.step('a token of reports', '200', () => callApi(billing.url, String(ofB.access_token)));
  await transcript.step('no token', '401 missing_token', () => callApi(billing.url));
  await transcript.step('shop\'s token for "orders": meant for another API', '401 invalid_token', () =>
    callApi(billing.url, ordersToken),
  );
  transcript.tell(
    [
      'Until now shop could not get a token for "billing". Suppose that an operator allows it by mistake: then',
      'the token is valid and meant for "billing", and the guard still sees which client it belongs to.',
    ].join('\n'),
  );
  await transcript.step('policy: shop may call "billing"', '201', () => allow(admin, BILLING, 'shop', 'billing:read'));
  const ofA = await transcript.step('shop gets a token for "billing"', '200', () =>
    requestToken(issuer, appA, { grant_type: 'client_credentials', resource: BILLING }),
  );
  await transcript.step("shop's token", '403 client_not_allowed', () => callApi(billing.url, String(ofA.access_token)));
  return String(ofA.access_token);
}

async function showIntrospection({ issuer, transcript }: Stage, fixtures: Fixtures, userToken: string): Promise<void> {
  transcript.chapter("What introspection says about shop's token for alice");
  const answer = await transcript.step('to the API it is meant for', 'active', () =>
    introspect(issuer, fixtures.ordersApi, userToken),
  );
  transcript.tell(JSON.stringify(answer, undefined, 2));
  await transcript.step('it names the client', 'shop', async () => ({
    observed: boundClientId(answer),
    value: undefined,
  }));
  await transcript.step('to shop, to which it belongs', 'active', () => introspect(issuer, fixtures.appA, userToken));
  await transcript.step('to reports, to which it does not belong', 'inactive', () =>
    introspect(issuer, fixtures.appB, userToken),
  );
}

async function takeAccessAway(
  { issuer, transcript }: Stage,
  admin: Admin,
  { appA, appB, ordersApi, billingApi }: Fixtures,
  { orders, billing }: Apis,
  { token, userToken, billingToken }: { token: string; userToken: string; billingToken: string },
): Promise<void> {
  transcript.chapter('Access is taken away from valid tokens');
  const isActive = (caller: ClientCredentials, subject: string) => () => introspect(issuer, caller, subject);

  await transcript.step('an operator removes the policy row of shop for "orders"', '204', () =>
    admin.request('DELETE', `${policyPath(ORDERS)}/shop`),
  );
  await transcript.step('introspection', 'inactive', isActive(ordersApi, token));
  await transcript.step('"orders" does not introspect: until the token expires', '200', () =>
    callApi(orders.url, token),
  );
  await transcript.step('the row is restored', '201', () => allow(admin, ORDERS, 'shop', 'orders:read'));
  await transcript.step('introspection', 'active', isActive(ordersApi, token));

  await transcript.step("reports tries to revoke shop's token", '200', () => revoke(issuer, appB, userToken));
  await transcript.step('introspection: that had no effect', 'active', isActive(ordersApi, userToken));
  await transcript.step('shop revokes it', '200', () => revoke(issuer, appA, userToken));
  await transcript.step('introspection', 'inactive', isActive(ordersApi, userToken));
  await transcript.step("shop's other token is untouched", 'active', isActive(ordersApi, token));

  await transcript.step('an operator disables shop', '200', () => admin.request('POST', '/clients/shop/disable'));
  await transcript.step('shop asks for a token', '401 invalid_client', () =>
    requestToken(issuer, appA, { grant_type: 'client_credentials', resource: ORDERS }),
  );
  await transcript.step('introspection of its token for "orders"', 'inactive', isActive(ordersApi, token));
  await transcript.step('introspection of its token for "billing"', 'inactive', isActive(billingApi, billingToken));
  await transcript.step('"billing" introspects, and refuses it', '401 invalid_token', () =>
    callApi(billing.url, billingToken),
  );
}
