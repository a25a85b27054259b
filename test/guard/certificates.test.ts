// Certificate-bound tokens at APIs with the guard (RFC 8705 §3), with certificates from a TLS
// handshake and from a header of a proxy. The attacker has the token and the certificate, which is
// public, but not its key.

import { createHash } from 'node:crypto';
import { createServer as createHttpServer, request, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';
import {
  certificateFromHeader,
  createGuard,
  expressGuard,
  fastifyGuard,
  type GuardOptions,
  koaGuard,
} from '../../src/guard/index.ts';
import { makeCertificate } from '../support/certificates.ts';
import { inSeconds } from '../support/signing.ts';
import { sendOverTls } from '../support/tls-client.ts';

const AUDIENCE = 'https://orders.example';
const own = makeCertificate({ subject: [['CN', 'shop']] });
const another = makeCertificate({ subject: [['CN', 'shop']] });
const apiCertificate = makeCertificate({ subject: [['CN', 'api']], dns: ['localhost'], isAuthority: true });

function guardFor(options: Partial<GuardOptions> = {}) {
  const x5t = createHash('sha256').update(own.der).digest('base64url');
  const claims = { aud: AUDIENCE, sub: 'a', client_id: 'a', azp: 'a', exp: inSeconds(60), cnf: { 'x5t#S256': x5t } };
  return createGuard({
    issuer: 'https://id.example',
    audience: AUDIENCE,
    clients: ['a'],
    mode: { verify: async () => claims },
    ...options,
  });
}

async function listening<S extends Server | ReturnType<typeof createHttpsServer>>(server: S): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, resolve));
  return (server.address() as AddressInfo).port;
}

describe('without a proxy', () => {
  let origin: string;
  let server: ReturnType<typeof createHttpsServer>;
  beforeAll(async () => {
    const web = express();
    web.get('/', expressGuard(guardFor()), (_request, response) => void response.json({}));
    const tls = { cert: apiCertificate.cert, key: apiCertificate.key, requestCert: true, rejectUnauthorized: false };
    server = createHttpsServer(tls, web);
    origin = `https://localhost:${await listening(server)}`;
  });
  afterAll(() => void server.close());

  test.each([
    ['its own certificate', own, 200],
    ['another one with the same subject', another, 401],
    ['none', undefined, 401],
  ])('a bound token with %s: %#', async (_name, certificate, expected) => {
    const headers = { authorization: 'Bearer token', 'client-cert': `:${own.der.toString('base64')}:` };
    const { status } = await sendOverTls({ origin, ca: apiCertificate.cert, certificate, path: '/', headers });
    expect(status).toBe(expected);
  });
});

describe.each(['koa', 'express', 'fastify'])('behind a proxy that terminates TLS: %s', (name) => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    const guard = guardFor({ clientCertificate: certificateFromHeader('X-Client-Cert', ['127.0.0.1']) });
    const handlers = {
      koa: () => {
        const web = new Koa().use(koaGuard(guard));
        web.use((ctx) => {
          ctx.body = 'welcome';
        });
        return web.callback();
      },
      express: () => express().get('/', expressGuard(guard), (_request, response) => void response.send('welcome')),
      fastify: () => {
        const web = fastify();
        web.get('/', { onRequest: fastifyGuard(guard) }, () => 'welcome');
        return (req: never, res: never) => void web.ready().then(() => web.routing(req, res));
      },
    };
    server = createHttpServer(handlers[name as 'koa']());
    port = await listening(server);
  });
  afterAll(() => void server.close());

  function call(header: string | string[] | undefined, localAddress = '127.0.0.1'): Promise<number | undefined> {
    const headers = { authorization: 'Bearer token', ...(header === undefined ? {} : { 'x-client-cert': header }) };
    return new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, localAddress, headers, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
  }

  const escaped = encodeURIComponent(own.cert);
  test.each([
    ['as nginx writes it', escaped, 200],
    ['as RFC 9440 writes it', `:${own.der.toString('base64')}:`, 200],
    ['of another client', encodeURIComponent(another.cert), 401],
    ['twice, one of them from the proxy', [escaped, escaped], 401],
    ['that cannot be parsed', '%%%', 401],
    ['that is missing', undefined, 401],
  ])('a certificate %s', async (_name, header, expected) => {
    expect(await call(header)).toBe(expected);
  });

  test('the header is ignored from a peer that is not a trusted proxy', async () => {
    // 127.0.0.2 is this machine too, but not in trustedProxies.
    expect(await call(escaped, '127.0.0.2')).toBe(401);
  });
});

test('trustedProxies is required: without it every caller could set the header', () => {
  expect(() => certificateFromHeader('X-Client-Cert', [])).toThrow(/trustedProxies/);
  expect(() => certificateFromHeader('X-Client-Cert', ['proxy.internal'])).toThrow(/proxy.internal/);
  // @ts-expect-error: JavaScript callers may leave it out
  expect(() => certificateFromHeader('X-Client-Cert')).toThrow(/trustedProxies/);
});
