// Request lines and headers as bytes on a socket: what `fetch` would never send, at every app
// behind the port (engine, admin API, pages, registration, health, metrics). An attacker needs no
// client for these.

import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { expectNoFaults, type OddRequest } from '../support/odd-requests.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://api.example';

let server: TestServer;
let app: TestClient;
let host: string;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_METRICS_ON_PUBLIC_PORT: 'true', LANYARD_METRICS_PORT: '0' });
  ({ host } = new URL(server.issuer));
  app = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(app.clientId, API, ['read']);
});
afterAll(() => server.stop());

interface RawAnswer {
  readonly status: number;
  text(): Promise<string>;
}

/** @param request its head, as latin1 */
function sendBytes(request: string, port = Number(new URL(server.issuer).port)): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(Buffer.from(request, 'latin1')));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => {
      const text = Buffer.concat(chunks).toString('latin1');
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
      resolve({ status, text: async () => text.slice(text.indexOf('\r\n\r\n') + 4) });
    });
  });
}

function ask(target: string, { method = 'GET', headers = '' } = {}, port?: number): Promise<RawAnswer> {
  return sendBytes(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${headers}Connection: close\r\n\r\n`, port);
}

const PATHS = [
  ...['/oauth2/authorize', '/oauth2/token', '/oauth2/introspect', '/oauth2/userinfo', '/oauth2/par', '/oauth2/logout'],
  ...[
    '/oauth2/device',
    '/oauth2/device/x',
    '/oauth2/jwks',
    '/oauth2/register',
    '/.well-known/openid-configuration',
    '/admin/v1/clients',
  ],
  ...['/interaction/x', '/interaction/x/login', '/health/live', '/health/ready', '/metrics', '/', '/unknown'],
];

test('targets that are neither a path nor an http URL are refused with 400', async () => {
  const authorities = [
    'http://[::bad',
    'http://a b',
    'http://%00',
    'http://:99999',
    'https://',
    'ftp://x',
    'x:',
    'http:',
    '?',
  ];
  const requests = PATHS.flatMap((path) =>
    authorities.map((authority): OddRequest => {
      // Node itself refuses some of them.
      return { label: authority + path, send: () => ask(authority + path), refusedNaming: '' };
    }),
  );
  await expectNoFaults(
    server,
    app,
    requests.filter(({ label }) => label.startsWith('http://[::bad')),
  );
  await expectNoFaults(
    server,
    app,
    requests.map(({ label, send }) => ({ label, send })),
  );
});

test('an absolute URL counts like the path in it, and its host instead of the Host header (RFC 9112 §3.2.2)', async () => {
  for (const path of ['/.well-known/openid-configuration', '/oauth2/jwks', '/health/live', '/metrics']) {
    const { status } = await ask(server.issuer + path);
    expect([path, status]).toEqual([path, 200]);
  }
  const { status } = await ask('http://evil.example/.well-known/openid-configuration');
  expect(status).toBe(421);
});

test('paths and query strings of odd bytes', async () => {
  const odd = [
    ...[
      '%',
      '%zz',
      '%00',
      '%ff',
      '%C0%80',
      '%ED%A0%80',
      '\u00ff',
      '\u00ed\u00a0\u0080',
      '//',
      '\\',
      '/../..',
      ';x',
      '#x',
    ],
    ...[
      '[::bad',
      '?%00',
      '?%ff=%ED%A0%80',
      '?a=\u00ff',
      '?client_id=%00',
      '?state=%ED%A0%80&client_id=x',
      '?&&&===',
      '??',
    ],
    ...[`?${'a=1&'.repeat(1_500)}`, `?client_id=${'x'.repeat(9_000)}`],
  ];
  const requests = PATHS.flatMap((path) =>
    odd.map((part): OddRequest => ({ label: path + part.slice(0, 60), send: () => ask(path + part) })),
  );
  await expectNoFaults(server, app, requests);
});

test('a parameter that is not text is named, at each endpoint with a query string', async () => {
  const requests = ['/oauth2/authorize', '/oauth2/logout', '/oauth2/device', '/oauth2/userinfo'].flatMap((path) =>
    ['%00', '%ff', '%C0%80', '%ED%A0%80'].map((odd): OddRequest => {
      const target = `${path}?client_id=${app.clientId}&state=a${odd}`;
      return { label: target, send: () => ask(target), refusedNaming: 'state' };
    }),
  );
  await expectNoFaults(server, app, requests);
});

test('headers of odd bytes', async () => {
  const encoded = (text: string) => Buffer.from(text, 'latin1').toString('base64');
  const values = [
    ...[
      'Basic',
      'Basic =',
      'Basic ====',
      'Basic \u00ff',
      'Basic a:b',
      `Basic ${encoded(':')}`,
      `Basic ${encoded('a\0:b\0')}`,
    ],
    ...[`Basic ${encoded('\u00ff:\u00ff')}`, `Basic ${encoded('%00:%00')}`, `Basic ${encoded('%ED%A0%80:x')}`],
    ...[
      `Basic ${encoded('%:x')}`,
      `Basic ${encoded(`${'x'.repeat(5_000)}:x`)}`,
      'Bearer',
      'Bearer \u00ff',
      'Bearer a.b.c',
    ],
    ...[
      'DPoP \u00ff',
      'Digest x',
      '\u00ed\u00a0\u0080',
      '{"toString":1}',
      '[::bad',
      `${'x'.repeat(8_000)}`,
      'a, b',
      '%00',
    ],
  ];
  const names = [
    ...['Authorization', 'DPoP', 'Cookie', 'Accept', 'Content-Type', 'Origin', 'X-Forwarded-For', 'X-Forwarded-Host'],
    ...['Forwarded', 'If-Match', 'Accept-Language', 'OAuth-Client-Attestation', 'X-Request-Id'],
  ];
  const requests = names.flatMap((name, index) =>
    values.map((value, nth): OddRequest => {
      const path = PATHS[(index + nth) % PATHS.length] as string;
      const method = nth % 2 === 0 ? 'POST' : 'GET';
      const headers = `${name}: ${value}\r\n${method === 'POST' ? 'Content-Length: 0\r\n' : ''}`;
      return { label: `${method} ${path} ${name}: ${value.slice(0, 60)}`, send: () => ask(path, { method, headers }) };
    }),
  );
  const authorizations = values.map((value): OddRequest => {
    const form = 'grant_type=client_credentials';
    const headers = `Authorization: ${value}\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
    const head = `POST /oauth2/token HTTP/1.1\r\nHost: ${host}\r\n${headers}Content-Length: ${form.length}\r\n`;
    return { label: `token ${value.slice(0, 60)}`, send: () => sendBytes(`${head}Connection: close\r\n\r\n${form}`) };
  });
  await expectNoFaults(server, app, [...requests, ...authorizations]);
});

test('forms of odd bytes, at every endpoint', async () => {
  const odd = [
    ...['%00', '%ff', '%C0%80', '%ED%A0%80', '\u00ff', '\u00ed\u00a0\u0080', '\0'].map((value): [string, string] => {
      return [`scope=a${value}&client_id=x`, 'scope'];
    }),
    ...['%00', '%ff=1', '%ED%A0%80'].map((name): [string, string] => [`${name}&client_id=x`, '']),
    ['a=1&'.repeat(1_001), 'parameters'] as [string, string],
  ];
  const charsets = ['', '; charset=utf-16', '; charset=latin1', '; charset=nonsense'];
  const paths = PATHS.filter((path) => path.startsWith('/oauth2/') && !/jwks|register/.test(path));
  const requests = paths.flatMap((path) =>
    odd.map(([form, refusedNaming], nth): OddRequest => {
      const type = `application/x-www-form-urlencoded${charsets[nth % charsets.length]}`;
      const headers = `Content-Type: ${type}\r\nContent-Length: ${form.length}\r\nConnection: close\r\n`;
      const send = () => sendBytes(`POST ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n${form}`);
      return { label: `${path} ${type} ${form.slice(0, 40)}`, send, refusedNaming };
    }),
  );
  await expectNoFaults(server, app, requests);
});

test('the listener for metrics', async () => {
  const targets = ['http://[::bad/metrics', '*', '/metrics?%00', '/%ff', 'x:', '/metrics\u00ff', '//', '/metrics/'];
  const requests = targets.map(
    (target): OddRequest => ({ label: target, send: () => ask(target, {}, server.metricsPort) }),
  );
  await expectNoFaults(server, app, requests);
});
