// Requests that are wrong as a whole: method, content type, bytes, address, Host.

import { request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { requestToken, type TestClient } from '../support/admin.ts';
import { expectDecent, GETS, POSTS, startWithApp, UNKNOWN } from '../support/garbage.ts';
import { loggedFailures } from '../support/oauth.ts';
import type { TestServer } from '../support/server.ts';

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

const BASIC = () => ({
  authorization: `Basic ${Buffer.from(`${app.clientId}:${app.clientSecret}`).toString('base64')}`,
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

  test('a request object without a signature, with members that cannot be turned into text', async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const member of [{ toString: 1 }, [{ toString: 1, valueOf: null }], [[{ toString: {} }]]]) {
      for (const name of ['state', 'redirect_uri', 'resource', 'unheard_of']) {
        const request = `${encode({ alg: 'ES256' })}.${encode({ [name]: member })}.AAAA`;
        const query = new URLSearchParams({ client_id: app.clientId, request });
        const response = await fetch(`${server.issuer}/oauth2/authorize?${query}`, { redirect: 'manual' });
        expect([name, response.status]).toEqual([name, 400]);
        expect(await response.text()).toContain('id="error-page"');
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

describe('where no browser goes, an error is JSON whatever Accept prefers (RFC 6749 §5.2)', () => {
  const FORM = 'application/x-www-form-urlencoded';
  /** What HttpURLConnection of Java sends when nothing is set, and what a browser sends. */
  const JAVA = 'text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2';
  const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const ENDPOINTS = ['token', 'introspect', 'revoke', 'par', 'device_authorization', 'userinfo'].map(
    (name) => `/oauth2/${name}`,
  );
  const WRONG: readonly [string, string, Record<string, string>][] = [
    ['a client that is unknown', 'client_id=nobody&client_secret=x&token=x', {}],
    ['a secret that is wrong', 'token=x', { authorization: `Basic ${btoa('nobody:x')}` }],
    ['a token that is wrong', '', { authorization: 'Bearer x' }],
    ['no client', 'grant_type=nonsense', {}],
    ['bytes that the gate refuses', 'token=%00', {}],
    ['too long a body', `token=${'x'.repeat(60_000)}`, {}],
  ];

  test.each(ENDPOINTS)('%s', async (path) => {
    for (const accept of [JAVA, BROWSER, 'text/html']) {
      for (const [what, body, headers] of WRONG) {
        const answer = await post(path, body, { accept, 'content-type': FORM, ...headers });
        const seen = [what, accept, answer.headers.get('content-type')];
        expect(seen).toEqual([what, accept, 'application/json; charset=utf-8']);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(await answer.json()).toEqual(expect.objectContaining({ error: expect.any(String) }));
      }
    }
  });

  test('a device that polls reads why it has to wait', async () => {
    const device = await server.admin.createClient({
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
      token_endpoint_auth_method: 'none',
    });
    const headers = { accept: JAVA, 'content-type': FORM };
    const started = await post('/oauth2/device_authorization', `client_id=${device.clientId}&scope=openid`, headers);
    const { device_code: code } = (await started.json()) as { device_code: string };
    const grant = `grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=${code}`;
    const answer = await post('/oauth2/token', `${grant}&client_id=${device.clientId}`, headers);
    expect([answer.status, await answer.json()]).toEqual([
      400,
      expect.objectContaining({ error: 'authorization_pending' }),
    ]);
  });

  test('userinfo by GET', async () => {
    const headers = { accept: JAVA, authorization: 'Bearer x' };
    const answer = await fetch(`${server.issuer}/oauth2/userinfo`, { headers });
    expect([answer.status, await answer.json()]).toEqual([401, expect.objectContaining({ error: 'invalid_token' })]);
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

  test('is refused with 421: no client gets a discovery document with the addresses of an attacker', async () => {
    for (const path of [...GETS, ...POSTS, ...UNKNOWN]) {
      const { status, text } = await ask(path, { host: 'evil.example' });
      expect(status).toBe(421);
      expect(text).not.toContain('evil.example');
    }
  });

  test('in X-Forwarded-Host from a peer that is no trusted proxy it has no effect', async () => {
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
