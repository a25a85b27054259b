// Certificates of clients that come through nginx, configured as docs/mutual-tls.md says. Needs nginx (Debian's package); it is here
// and not with the other tests because this suite is the one that may need packages.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { TestClient } from '../support/admin.ts';
import { type Certificate, jwkWithCertificate, makeCertificate } from '../support/certificates.ts';
import { eventually } from '../support/patience.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { sendOverTls } from '../support/tls-client.ts';

const API = 'https://api.example';
const PAGE = fileURLToPath(new URL('../../docs/mutual-tls.md', import.meta.url));

const nginxCertificate = makeCertificate({ subject: [['CN', 'nginx']], dns: ['localhost'], isAuthority: true });
const authority = makeCertificate({ subject: [['CN', 'Corner Authority']], isAuthority: true });
const shopCertificate = makeCertificate({ subject: [['CN', 'shop']], dns: ['shop.example'], issuer: authority });
const selfSigned = makeCertificate({ subject: [['CN', 'shop']], dns: ['shop.example'] });

let folder: string;
let server: TestServer;
let origin: string;
let stopNginx: () => Promise<void>;
let shop: TestClient;
let own: TestClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-nginx-'));
  const nginxPort = await freePort();
  origin = `https://localhost:${nginxPort}`;
  setDefaultCACertificates([...getCACertificates('default'), nginxCertificate.cert]);
  server = await startTestServer({
    LANYARD_ISSUER: origin,
    LANYARD_TRUST_PROXY: '127.0.0.1',
    LANYARD_CLIENT_CERTIFICATE_HEADER: 'X-Client-Cert',
  });
  stopNginx = await startNginx(nginxPort);
  await server.admin.createApi(API, { scopes: ['read'] });
  const metadata = { grant_types: ['client_credentials'], tls_client_certificate_bound_access_tokens: true };
  shop = await server.admin.createClient({
    ...metadata,
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_san_dns: 'shop.example',
  });
  own = await server.admin.createClient({
    ...metadata,
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: { keys: [jwkWithCertificate(selfSigned)] },
  });
  for (const { clientId } of [shop, own]) await server.admin.allow(clientId, API, ['read']);
});
afterAll(async () => {
  await server.stop();
  await stopNginx();
  await rm(folder, { recursive: true });
});

/** The block of the page, with our paths and ports in it. */
async function startNginx(port: number): Promise<() => Promise<void>> {
  const files = { 'id.pem': nginxCertificate.cert, 'id.key': nginxCertificate.key, 'ca.pem': authority.cert };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const [, block = ''] = /```nginx\n(.*?)```/s.exec(await readFile(PAGE, 'utf8')) ?? [];
  const adapted = block
    .replace('listen 443', `listen 127.0.0.1:${port}`)
    .replace('/etc/nginx/id.example.pem', join(folder, 'id.pem'))
    .replace('/etc/nginx/id.example.key', join(folder, 'id.key'))
    .replace('/etc/nginx/client-authorities.pem', join(folder, 'ca.pem'))
    .replace('127.0.0.1:3000', `127.0.0.1:${server.config.port}`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `daemon off; pid ${folder}/pid; error_log stderr; events {}
    http { access_log off; ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')} ${adapted} }`;
  await writeFile(join(folder, 'nginx.conf'), config);
  const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaints = '';
  nginx.stderr.on('data', (chunk) => {
    complaints += chunk;
  });
  const ended = once(nginx, 'close').catch((error: Error) => {
    complaints += `${error.message} (apt-get install nginx)`;
  });
  await eventually(() => fetch(origin)).catch(() => {
    throw new Error(`nginx does not answer: ${complaints}`);
  });
  return async () => {
    nginx.kill('SIGTERM');
    await ended;
  };
}

function token(
  { clientId }: TestClient,
  certificate?: Certificate,
  headers: Record<string, string> = {},
  resource = API,
) {
  const form = { grant_type: 'client_credentials', client_id: clientId, resource };
  return sendOverTls({ origin, ca: nginxCertificate.cert, certificate, path: '/oauth2/token', form, headers });
}

const forgedHeaders = (certificate: Certificate) => ({
  'x-client-cert': encodeURIComponent(certificate.cert),
  'x-client-cert-verify': 'SUCCESS',
});

test.each([
  ['of an authority', () => shop, shopCertificate],
  ['of the client itself', () => own, selfSigned],
])('a certificate %s arrives, and the token is bound to it', async (_name, client, certificate) => {
  const { status, body } = await token(client(), certificate);
  expect(status).toBe(200);
  const claims = decodeJwt(body.access_token as string);
  const thumbprint = Buffer.from(certificate.x509.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
  expect([claims.client_id, claims.cnf]).toEqual([client().clientId, { 'x5t#S256': thumbprint }]);
});

test('the admin API sees it too, and no other one', async () => {
  const resource = `${origin}/admin`;
  await server.admin.allow(shop.clientId, resource, ['admin:read']);
  const accessToken = (await token(shop, shopCertificate, {}, resource)).body.access_token;
  const read = async (certificate: Certificate, forged: Record<string, string> = {}) => {
    const headers = { ...forged, authorization: `Bearer ${accessToken}` };
    const options = { origin, ca: nginxCertificate.cert, certificate, path: '/admin/v1/clients', headers };
    return (await sendOverTls(options)).status;
  };
  expect(await read(shopCertificate)).toBe(200);
  expect(await read(selfSigned, forgedHeaders(shopCertificate))).toBe(401);
});

test('a certificate that no authority has signed is not that of the shop', async () => {
  expect((await token(shop, selfSigned)).body.error).toBe('invalid_client');
});

test('what a client writes into the headers does not get through nginx', async () => {
  expect((await token(shop, undefined, forgedHeaders(shopCertificate))).body.error).toBe('invalid_client');
  expect((await token(shop, selfSigned, { 'x-client-cert-verify': 'SUCCESS' })).body.error).toBe('invalid_client');
  expect((await token(own, shopCertificate, forgedHeaders(selfSigned))).body.error).toBe('invalid_client');
});

test('certificate headers of a request that did not come from the trusted proxy are ignored: an attacker would be any client', async () => {
  // From an address that is no proxy of ours: 127.0.0.2 is this machine too.
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: shop.clientId, resource: API });
  const headers = { host: new URL(origin).host, ...forgedHeaders(shopCertificate) };
  const send = (localAddress: string) =>
    new Promise<{ status: number | undefined }>((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: server.config.port,
        path: '/oauth2/token',
        method: 'POST',
        localAddress,
      };
      const contentType = { 'content-type': 'application/x-www-form-urlencoded' };
      request({ ...options, headers: { ...headers, ...contentType } }, (response) => {
        response.resume();
        resolve({ status: response.statusCode });
      })
        .on('error', reject)
        .end(form.toString());
    });
  expect((await send('127.0.0.2')).status).toBe(401);
  expect((await send('127.0.0.1')).status).toBe(200);
});
