// Logos of apps: fetched from where a registration says, served from here. An attacker would make this server fetch what only it can
// reach, serve a document with scripts from its origin, or make users trust a forged app.

import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CODE_FLOW, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { eventually } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent } from '../support/user-agent.ts';

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const WEBP = Buffer.concat([Buffer.from('RIFF\x10\x00\x00\x00WEBPVP8 '), Buffer.alloc(16)]);

let server: TestServer;
let host: Server;
let hostUrl: string;
/** paths that the host was asked for */
let asked: string[] = [];
/** answers that the host has not given yet */
let waiting: ServerResponse[] = [];

const ANSWERS: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  '/logo.png': (response) => response.writeHead(200, { 'content-type': 'text/html' }).end(PNG),
  '/logo.webp': (response) => response.end(WEBP),
  '/logo.jpeg': (response) => response.end(Buffer.from([0xff, 0xd8, 0xff, 0xe0])),
  '/logo.gif': (response) => response.end('GIF89a'),
  '/logo.svg': (response) => response.writeHead(200, { 'content-type': 'image/svg+xml' }).end('<svg onload="x()"/>'),
  '/page': (response) => response.writeHead(200, { 'content-type': 'image/png' }).end('<script>x()</script>'),
  '/large.png': (response) => response.end(Buffer.concat([PNG, Buffer.alloc(300_000)])),
  '/error.png': (response) => response.writeHead(500).end(PNG),
  '/moved.png': (response) => response.writeHead(302, { location: '/logo.png' }).end(),
  '/empty': (response) => response.end(),
  '/slow.png': (response) => waiting.push(response),
};

beforeAll(async () => {
  host = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://host');
    asked.push(pathname);
    ANSWERS[pathname]?.(response);
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  const { port } = host.address() as AddressInfo;
  hostUrl = `http://127.0.0.1:${port}`;
  server = await startTestServer({
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: `127.0.0.1:${port}`,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
  });
});
afterAll(async () => {
  host.closeAllConnections();
  host.close();
  await server.stop();
});
beforeEach(() => {
  asked = [];
  waiting = [];
});

async function login(clientId: string) {
  const query = new URLSearchParams({
    client_id: clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  });
  const { html, headers } = await createUserAgent(server.issuer).visit(`${server.issuer}/oauth2/authorize?${query}`);
  const logo = /<img class="logo" src="([^"]+)"/.exec(html)?.[1]?.replaceAll('&amp;', '&');
  return { html, logo, policy: headers.get('content-security-policy') };
}

const appWith = (members: Record<string, unknown>) => server.admin.createClient({ ...CODE_FLOW, ...members });
const fetchLogo = (path: string) => fetch(new URL(path, server.issuer));

describe('an app that an operator has registered', () => {
  test('has its logo and its pages on the login page', async () => {
    const { clientId } = await appWith({
      logo_uri: `${hostUrl}/logo.png`,
      policy_uri: 'https://app.example/privacy',
      tos_uri: 'https://app.example/terms',
    });
    const { html, logo, policy } = await login(clientId);
    expect(html).toContain('href="https://app.example/privacy"');
    expect(html).toContain('href="https://app.example/terms"');
    expect(policy).toContain("img-src 'self'");
    const response = await fetchLogo(logo as string);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(PNG);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'image/png',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'cache-control': 'public, max-age=3600',
      'cross-origin-resource-policy': 'same-origin',
    });
  });

  test('without a logo has none, and its page allows no images', async () => {
    const { logo, policy } = await login((await appWith({})).clientId);
    expect([logo, policy?.includes('img-src')]).toEqual([undefined, false]);
  });

  test.each([
    ['/logo.png', 'image/png'],
    ['/logo.webp', 'image/webp'],
    ['/logo.jpeg', 'image/jpeg'],
    ['/logo.gif', 'image/gif'],
  ])('%s is served as %s, whatever its host says', async (path, type) => {
    const { clientId } = await appWith({ logo_uri: `${hostUrl}${path}?again` });
    expect((await fetchLogo(`/logos/${clientId}`)).headers.get('content-type')).toBe(type);
  });

  test.each(['/logo.svg', '/page', '/large.png', '/error.png', '/moved.png', '/empty'])(
    '%s is not served, and not tried again soon',
    async (path) => {
      const { clientId } = await appWith({ logo_uri: `${hostUrl}${path}` });
      expect((await login(clientId)).logo).toBeDefined();
      const response = await fetchLogo(`/logos/${clientId}`);
      expect([response.status, response.headers.get('content-type')]).toEqual([
        404,
        expect.stringContaining('application/problem+json'),
      ]);
      expect((await fetchLogo(`/logos/${clientId}`)).status).toBe(404);
      expect(asked).toEqual([path]);
      expect((await login(clientId)).logo).toBeUndefined();
    },
  );

  test('at an address that is not public is not asked for: its registration would read it out', async () => {
    for (const logoUri of ['http://127.0.0.1:1/x.png', 'https://169.254.169.254/latest', 'https://[::1]/x.png']) {
      const { clientId } = await appWith({ logo_uri: logoUri });
      expect((await fetchLogo(`/logos/${clientId}`)).status).toBe(404);
    }
  });

  test('whose host is slow delays no page, and is asked once for all who wait', async () => {
    const { clientId } = await appWith({ logo_uri: `${hostUrl}/slow.png` });
    const images = Array.from({ length: 20 }, () => fetchLogo(`/logos/${clientId}`));
    expect((await login(clientId)).html).toContain('id="login-page"');
    await eventually(() => expect(waiting).toHaveLength(1));
    for (const response of waiting) response.end(PNG);
    expect(new Set((await Promise.all(images)).map(({ status }) => status))).toEqual(new Set([200]));
    expect(asked).toEqual(['/slow.png']);
  });

  test('and has changed its logo has another address for it, so that browsers show the new one', async () => {
    const { clientId } = await appWith({ logo_uri: `${hostUrl}/logo.png?1` });
    const before = (await login(clientId)).logo;
    await server.admin.request('PATCH', `/clients/${clientId}`, { logo_uri: `${hostUrl}/logo.webp?2` });
    const { logo } = await login(clientId);
    expect(logo).not.toBe(before);
    expect((await fetchLogo(logo as string)).headers.get('content-type')).toBe('image/webp');
  });
});

describe('software that registered itself', () => {
  test('has no logo: the one of a bank beside a chosen name would be believed, and strangers would choose what is fetched', async () => {
    const registered = await fetch(`${server.issuer}/oauth2/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        ...PUBLIC,
        redirect_uris: [REDIRECT_URI],
        client_name: 'Your Bank',
        logo_uri: `${hostUrl}/logo.png`,
        client_uri: 'https://evil.example/',
        policy_uri: 'https://evil.example/privacy',
      }),
    });
    const { client_id: clientId } = (await registered.json()) as { client_id: string };
    const { html, logo, policy } = await login(clientId);
    expect([logo, policy?.includes('img-src')]).toEqual([undefined, false]);
    expect(html).not.toContain('href="https://evil.example/"');
    expect((await fetchLogo(`/logos/${clientId}`)).status).toBe(404);
    expect(asked).toEqual([]);
  });

  test.each(['unknown', '%00', '%', '..%2Fadmin', encodeURIComponent('https://app.example/client')])(
    '/logos/%s is 404 or 400',
    async (id) => {
      expect([400, 404]).toContain((await fetchLogo(`/logos/${id}`)).status);
      expect(asked).toEqual([]);
    },
  );
});
