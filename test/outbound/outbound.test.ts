// Requests to URLs that clients register. An attacker could use one to reach internal servers, or
// to make this server wait and fill its memory.

import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { clientCredentialsGrant, PrivateKeyJwt } from 'openid-client';
import { createOutbound } from '../../src/outbound/outbound.ts';
import { isPublicAddress } from '../../src/outbound/public-address.ts';
import { postForm } from '../support/admin.ts';
import { honest } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner, type Signer } from '../support/signing.ts';

let internal: Server;
let port: number;
let visits: string[] = [];
let answer: RequestListener;

beforeAll(async () => {
  internal = createServer((request, response) => {
    visits.push(request.url ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => internal.listen(0, '127.0.0.1', resolve));
  port = (internal.address() as AddressInfo).port;
});
afterAll(() => {
  internal.closeAllConnections();
  internal.close();
});

test.each([
  '127.0.0.1',
  '127.8.9.1',
  '0.0.0.0',
  '10.1.2.3',
  '172.16.0.1',
  '192.168.1.1',
  '169.254.169.254',
  '100.64.0.1',
  '198.18.0.1',
  '192.0.2.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fe80::1',
  'fe80::1%eth0',
  'fc00::1',
  'fd00:ec2::254',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '2001:db8::1',
  '2001::1',
  // Deprecated, local or reserved: none reaches the public internet, and some reach 127.0.0.1.
  '::7f00:1',
  '::ffff:0:7f00:1',
  '64:ff9b:1::7f00:1',
  'fec0::1',
  '100:0:0:1::1',
  '3fff::1',
  '4000::1',
  // The metadata service of a cloud, like 169.254.169.254.
  '168.63.129.16',
  '::ffff:168.63.129.16',
  'malformed',
  '',
])('%s is not on the public internet', (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

test.each(['1.1.1.1', '93.184.216.34', '2606:4700:4700::1111', '::ffff:1.1.1.1'])('%s is', (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

describe('an internal address is never reached', () => {
  const spellings = () => [
    `https://127.0.0.1:${port}/`,
    `https://localhost:${port}/`,
    `https://[::1]:${port}/`,
    `https://[::ffff:127.0.0.1]:${port}/`,
    `https://2130706433:${port}/`,
    `https://0x7f000001:${port}/`,
    `https://0177.0.0.1:${port}/`,
    `https://127.1:${port}/`,
    `https://0:${port}/`,
    `https://localhost.:${port}/`,
    `https://[::127.0.0.1]:${port}/`,
    `https://[64:ff9b::127.0.0.1]:${port}/`,
    `https://[fe80::1%25lo]:${port}/`,
    `https://example.com@127.0.0.1:${port}/`,
    'https://169.254.169.254/latest/meta-data/',
    'https://metadata.google.internal/',
    `http://127.0.0.1:${port}/`,
    `http://example.com:${port}/`,
    `https://user:password@127.0.0.1:${port}/`,
    'file:///etc/passwd',
    'data:text/plain,hello',
  ];
  test.each(spellings().map((url) => [url]))('%s', async (template) => {
    const outbound = createOutbound({ allowedHosts: [] });
    visits = [];
    const url = template.replace(':undefined', `:${port}`);
    let connections = 0;
    const count = () => {
      connections += 1;
    };
    internal.on('connection', count);
    await expect(outbound.fetch(url)).rejects.toThrow();
    internal.off('connection', count);
    expect([visits, connections]).toEqual([[], 0]);
    await outbound.close();
  });

  test('not through a proxy either', async () => {
    const requested: string[] = [];
    const proxy = createServer();
    proxy.on('connect', (request, socket) => {
      requested.push(request.url ?? '');
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const outbound = createOutbound({ allowedHosts: [], proxy: address });
    for (const url of [`https://127.0.0.1:${port}/`, `https://localhost:${port}/`, 'https://169.254.169.254/']) {
      await expect(outbound.fetch(url)).rejects.toThrow();
    }
    expect(requested).toEqual([]);
    await expect(outbound.fetch('https://1.1.1.1/')).rejects.toThrow();
    expect(requested).toEqual(['1.1.1.1:443']);
    await outbound.close();
    proxy.close();
  });
});

describe('a host on the allow-list', () => {
  const outbound = () => createOutbound({ allowedHosts: [`127.0.0.1:${port}`] });

  test('is reached, also by http', async () => {
    answer = (_request, response) => response.end('hello');
    expect(await (await outbound().fetch(`http://127.0.0.1:${port}/`)).text()).toBe('hello');
  });

  test('cannot redirect to a host that is not on it', async () => {
    visits = [];
    answer = (_request, response) => response.writeHead(302, { location: `http://localhost:${port}/secret` }).end();
    await expect(outbound().fetch(`http://127.0.0.1:${port}/first`)).rejects.toThrow();
    expect(visits).toEqual(['/first']);
  });

  test('cannot redirect a request that follows redirects', async () => {
    visits = [];
    answer = (_request, response) => response.writeHead(302, { location: `https://[::1]:${port}/secret` }).end();
    await expect(outbound().fetch(`http://127.0.0.1:${port}/first`, { redirect: 'follow' })).rejects.toThrow();
    answer = (_request, response) => response.writeHead(302, { location: `http://127.0.0.1:${port}/second` }).end();
    await expect(outbound().fetch(`http://127.0.0.1:${port}/first`, { redirect: 'follow' })).rejects.toThrow();
    expect(visits).toEqual(['/first', '/first']);
  });

  test('cannot fill the memory with a small compressed response', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(100 * 1024);
    answer = (_request, response) => response.setHeader('content-encoding', 'gzip').end(bomb);
    await expect(outbound().fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow(/too long/);
  });

  test('cannot delay the end of a request by sending single bytes', async () => {
    answer = (_request, response) => {
      const drip = setInterval(() => response.write(' '), 200);
      response.on('close', () => clearInterval(drip));
    };
    await expect(outbound().fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  });

  test('cannot fill the memory, and cannot keep a request open', async () => {
    answer = (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
      };
      response.on('drain', more);
      more();
    };
    await expect(outbound().fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow(/too long/);
    answer = () => {};
    await expect(outbound().fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  });

  test('is allowed on the configured port only', async () => {
    await expect(outbound().fetch(`http://127.0.0.1:${port + 1}/`)).rejects.toThrow(/https/);
  });
});

describe('jwks_uri of a client', () => {
  let server: TestServer;
  let strict: TestServer;
  let signer: Signer;
  let clientId: string;

  const register = (target: TestServer, jwks_uri: string) =>
    target.admin.createClient({
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks_uri,
    });

  beforeAll(async () => {
    signer = await newSigner();
    answer = (_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ keys: [signer.publicJwk] }));
    };
    [server, strict] = await Promise.all([
      startTestServer({ LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: `127.0.0.1:${port}` }),
      startTestServer(),
    ]);
    ({ clientId } = await register(server, `http://127.0.0.1:${port}/jwks`));
    await server.admin.createApi('https://orders.example', { scopes: ['read'] });
    await server.admin.allow(clientId, 'https://orders.example', ['read']);
  });
  afterAll(() => Promise.all([server.stop(), strict.stop()]));

  test('the keys are fetched, and the client gets its token', async () => {
    const authentication = PrivateKeyJwt({ key: signer.privateKey, kid: signer.thumbprint });
    const configuration = await honest(server, { clientId, clientSecret: '' }, authentication);
    expect((await clientCredentialsGrant(configuration)).access_token).toEqual(expect.any(String));
  });

  test('a key on an internal server is not fetched, and the client is refused', async () => {
    const { clientId: attacker } = await register(strict, `https://127.0.0.1:${port}/jwks`);
    visits = [];
    const form = { grant_type: 'client_credentials', ...(await assertion(strict.issuer, attacker, signer)) };
    const answered = await postForm(`${strict.issuer}/oauth2/token`, undefined, form);
    expect(answered.status).toBeGreaterThanOrEqual(400);
    expect(answered.body).not.toHaveProperty('access_token');
    expect(visits).toEqual([]);
  });
});

test('the internal server of this test can be reached', async () => {
  answer = (_request, response) => response.end();
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => socket.once('connect', () => resolve()).once('error', reject));
  socket.destroy();
});
