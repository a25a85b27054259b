// What nobody honest sends. Whatever it is: an answer in JSON or a page, never 5xx, never a stack trace, and the server goes on.

import { request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { requestToken, type TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';

let server: TestServer;
let app: TestClient;
let seen = 0;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
  });
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(app.clientId, API, ['read']);
});
afterEach(async () => {
  expect((await requestToken(server.issuer, app)).status).toBe(200);
  const failures = server.logLines.slice(seen).filter((line) => JSON.parse(line).level >= 50);
  seen = server.logLines.length;
  expect(failures).toEqual([]);
});
afterAll(() => server.stop());

const GETS = [
  '/oauth2/authorize',
  '/oauth2/userinfo',
  '/oauth2/jwks',
  '/oauth2/logout',
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
];
const POSTS = ['/oauth2/token', '/oauth2/introspect', '/oauth2/revoke', '/oauth2/logout/confirm'];
const UNKNOWN = [
  '/oauth2/',
  '/oauth2/nonsense',
  '/oauth2/authorize/nonsense',
  '/.well-known/nonsense',
  '/oauth2/token/x',
];

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

async function expectDecent(response: Response, what: string): Promise<void> {
  const text = await response.text();
  const seenAs = `${what}: ${response.status} ${text.slice(0, 300)}`;
  if (response.status >= 500) throw new Error(seenAs);
  // a stack trace, a path of ours, a statement
  if (/\n\s+at |node_modules|\.ts:\d|SELECT |INSERT |Error:/.test(text)) throw new Error(seenAs);
  const type = response.headers.get('content-type') ?? '';
  if (text !== '' && response.status >= 400 && !/json|text\/html/.test(type)) throw new Error(`${seenAs} (${type})`);
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

  test('each twice', async () => {
    await eachParameter((value) => [value, value]);
  });

  test('something unexpected in each', async () => {
    for (const odd of [
      '',
      '%00',
      '\uFFFD\u202E',
      '{"a":',
      '[]',
      '__proto__',
      '-1',
      '1e309',
      "'; DROP TABLE clients --",
    ]) {
      await eachParameter(() => [odd]);
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

describe('requests', () => {
  test('a wrong method', async () => {
    for (const path of [...GETS, ...POSTS, ...UNKNOWN]) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND']) {
        const response = await fetch(server.issuer + path, { method, redirect: 'manual' });
        await expectDecent(response, `${method} ${path}`);
        if (UNKNOWN.includes(path) && method === 'GET') expect([400, 404]).toContain(response.status);
      }
    }
  });

  test('a wrong content type, or one that lies', async () => {
    const form = new URLSearchParams({ grant_type: 'client_credentials', token: 'x' }).toString();
    for (const path of POSTS) {
      for (const type of [
        'application/json',
        'text/plain',
        'multipart/form-data; boundary=x',
        'application/x-www-form-urlencoded; charset=utf-16',
        'application/x-www-form-urlencoded; charset=nonsense',
        'nonsense',
        '',
      ]) {
        for (const body of [form, '{"grant_type":"client_credentials"}', '', '\0', '%', '%zz=%ff', '&&&===']) {
          await expectDecent(await post(path, body, { 'content-type': type, ...BASIC() }), `${path} ${type} ${body}`);
        }
      }
    }
  });

  test('bytes that are no text, compressed bodies, a length that is not true', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', ...BASIC() };
    for (const path of POSTS) {
      await expectDecent(await post(path, Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x3d, 0xc3, 0x28]), headers), path);
      await expectDecent(await post(path, Buffer.from('token=x'), { ...headers, 'content-encoding': 'gzip' }), path);
    }
  });

  test('an address that is none', async () => {
    for (const path of [
      '/oauth2/%',
      '/oauth2/%00',
      '/oauth2/%ff',
      '/oauth2//token',
      '/oauth2/../admin/v1/clients',
      '/oauth2/token;x',
    ]) {
      await expectDecent(await fetch(server.issuer + path, { redirect: 'manual' }), path);
    }
  });

  test('a browser gets a page, a program JSON', async () => {
    const url = `${server.issuer}/oauth2/logout?id_token_hint=nonsense`;
    const page = await fetch(url, { headers: { accept: 'text/html' } });
    expect([page.status, page.headers.get('content-type')]).toEqual([400, expect.stringMatching(/^text\/html/)]);
    const json = await fetch(url, { headers: { accept: 'application/json' } });
    expect([json.status, await json.json()]).toEqual([400, expect.objectContaining({ error: 'invalid_request' })]);
  });
});

describe('a foreign Host header', () => {
  /** `fetch` does not let us lie about the host. */
  function ask(path: string, headers: Record<string, string>): Promise<{ status: number | undefined; text: string }> {
    const { port } = new URL(server.issuer);
    return new Promise((resolve, reject) => {
      const asked = httpRequest({ host: '127.0.0.1', port, path, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer
          .on('data', (chunk) => chunks.push(chunk))
          .on('end', () => {
            resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() });
          });
      });
      asked.on('error', reject).end();
    });
  }

  test('is refused with 421: nobody gets a discovery document with the addresses of an attacker', async () => {
    for (const path of [...GETS, ...POSTS, ...UNKNOWN]) {
      const { status, text } = await ask(path, { host: 'evil.example' });
      expect(status).toBe(421);
      expect(text).not.toContain('evil.example');
    }
  });

  test('in X-Forwarded-Host from somebody who is no proxy of ours it has no effect', async () => {
    const { host } = new URL(server.issuer);
    const lies = {
      host,
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      forwarded: 'host=evil.example',
    };
    for (const path of GETS.slice(4)) {
      const { status, text } = await ask(path, lies);
      expect(status).toBe(200);
      expect(text).not.toContain('evil.example');
      expect(JSON.parse(text)).toMatchObject({
        issuer: server.issuer,
        token_endpoint: `${server.issuer}/oauth2/token`,
      });
    }
  });
});
