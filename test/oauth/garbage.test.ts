// Invalid requests of every kind: the answer is JSON or a page, never 5xx and never a stack trace, and the server goes on.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { ROUTES } from '../../src/provider/routes.ts';
import { requestToken, type TestClient } from '../support/admin.ts';
import { expectDecent, GETS, POSTS, startWithApp } from '../support/garbage.ts';
import { loggedFailures, REDIRECT_URI } from '../support/oauth.ts';
import type { TestServer } from '../support/server.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';

let server: TestServer;
let app: TestClient;
let seen = 0;

beforeAll(async () => {
  ({ server, app } = await startWithApp());
});
afterEach(async () => {
  expect((await requestToken(server.issuer, app)).status).toBe(200);
  expect(loggedFailures(server, seen)).toEqual([]);
  seen = server.logLines.length;
});
afterAll(() => server.stop());

/** All parameters that our endpoints know, each with a value that works as far as there is one. */
function parameters(): Record<string, string> {
  return {
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state: 'x',
    nonce: 'x',
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    resource: API,
    prompt: 'none',
    max_age: '1',
    login_hint: 'x',
    ui_locales: 'de',
    acr_values: 'x',
    id_token_hint: 'x',
    response_mode: 'query',
    claims: '{}',
    request: 'x',
    request_uri: 'x',
    registration: 'x',
    grant_type: 'client_credentials',
    code: 'x',
    code_verifier: 'x',
    refresh_token: 'x',
    client_secret: app.clientSecret,
    client_assertion: 'a.b.c',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    token: 'x',
    token_type_hint: 'x',
    post_logout_redirect_uri: 'x',
    logout_hint: 'x',
    xsrf: 'x',
    logout: 'x',
    access_token: 'x',
  };
}

function post(
  path: string,
  body: URLSearchParams | string | Buffer<ArrayBuffer> | undefined,
  headers: Record<string, string> = {},
) {
  return fetch(server.issuer + path, {
    method: 'POST',
    redirect: 'manual',
    headers,
    ...(body === undefined ? {} : { body }),
  });
}

function get(path: string, query: URLSearchParams, headers: Record<string, string> = {}) {
  return fetch(`${server.issuer}${path}?${query}`, { redirect: 'manual', headers });
}

const BASIC = () => ({
  authorization: `Basic ${Buffer.from(`${app.clientId}:${app.clientSecret}`).toString('base64')}`,
});

/** Each parameter in turn gets the value; once as the client, once without one. */
async function eachParameter(change: (value: string) => string[], names = Object.keys(parameters())): Promise<void> {
  for (const name of names) {
    const valid = parameters();
    const form = new URLSearchParams(valid);
    form.delete(name);
    for (const value of change(valid[name] as string)) form.append(name, value);
    for (const path of GETS.slice(0, 4)) await expectDecent(await get(path, form), `GET ${path} ${name}`);
    const alone = new URLSearchParams(form);
    if (name !== 'client_secret') alone.delete('client_secret');
    if (name !== 'client_assertion') alone.delete('client_assertion');
    for (const path of POSTS) {
      await expectDecent(await post(path, form), `POST ${path} ${name}`);
      await expectDecent(await post(path, alone, BASIC()), `POST ${path} ${name} with client`);
    }
  }
}

describe('parameters', () => {
  test('a NUL in each', async () => {
    await eachParameter((value) => [`${value}\0`]);
    await eachParameter(() => ['\0']);
  });

  test('an app in a browser may read why its form was refused', async () => {
    const { token, pushed_authorization_request, device_authorization, introspection, revocation, userinfo } = ROUTES;
    const origin = 'https://app.example';
    const form = new URLSearchParams({ scope: '\0' });
    for (const path of [
      token,
      pushed_authorization_request,
      device_authorization,
      introspection,
      revocation,
      userinfo,
    ]) {
      const { status, headers } = await post(path, form, { origin });
      expect([path, status, headers.get('access-control-allow-origin')]).toEqual([path, 400, origin]);
      expect(headers.get('vary')).toContain('Origin');
    }
    const { headers } = await post(ROUTES.authorization, form, { origin });
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });

  test('each twice', async () => {
    await eachParameter((value) => [value, value]);
  });

  test('something unexpected in each', async () => {
    const odd = ['', '%00', '\uFFFD\u202E', '{"a":', '[]', '__proto__', '-1', '1e309', "'; DROP TABLE clients --"];
    for (const start of [0, 3, 6]) {
      let next = start; // so that each parameter gets another one in each round
      await eachParameter(() => [odd[next++ % odd.length] as string]);
    }
  });

  test('names that mean something to JavaScript', async () => {
    for (const name of [
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
      '__proto__[x]',
      'client_id[]',
      'a[b]',
    ]) {
      const form = new URLSearchParams({ ...parameters(), [name]: 'x' });
      for (const path of POSTS) await expectDecent(await post(path, form, BASIC()), `${path} ${name}`);
      for (const path of GETS) await expectDecent(await get(path, form), `${path} ${name}`);
    }
  });

  test('100 KB in each parameter of a form, and as much in a header or an address as Node takes', async () => {
    const long = 'x'.repeat(100 * 1024);
    for (const name of Object.keys(parameters())) {
      for (const path of POSTS) {
        const form = new URLSearchParams({ ...parameters(), [name]: long });
        await expectDecent(await post(path, form), `${path} ${name}`);
      }
    }
    const shorter = 'x'.repeat(12_000);
    for (const name of Object.keys(parameters())) {
      for (const path of GETS.slice(0, 4)) {
        const query = new URLSearchParams({ ...parameters(), prompt: 'login', [name]: shorter });
        await expectDecent(await get(path, query), `${path} ${name}`);
      }
    }
    for (const path of [...GETS, ...POSTS]) {
      await expectDecent(await get(path, new URLSearchParams(), { authorization: `Bearer ${shorter}` }), path);
      await expectDecent(await get(path, new URLSearchParams(), { cookie: `lanyard_session=${shorter}` }), path);
    }
  });
});
