// Tokens that are bound to a key, at APIs with the guard: Lanyard issues them; Koa, Express and
// Fastify servers check them. The attacker has the token, and sometimes a proof that was observed.

import { createHash } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import express from 'express';
import fastify from 'fastify';
import { exportJWK } from 'jose';
import Koa from 'koa';
import { clientCredentialsGrant, fetchProtectedResource, getDPoPHandle, randomDPoPKeyPair } from 'openid-client';
import {
  createGuard,
  expressGuard,
  expressResourceMetadata,
  fastifyGuard,
  fastifyResourceMetadata,
  type GuardOptions,
  koaGuard,
  koaResourceMetadata,
  type ReplayStore,
} from '../../src/guard/index.ts';
import { type Answer, type TestClient, toAnswer } from '../support/admin.ts';
import { honest } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { type Changes, dpopProof, inSeconds, newSigner, type Signer } from '../support/signing.ts';
import { refused } from './refused.ts';

let server: TestServer;
let app: TestClient;
let other: TestClient;
let key: Signer;
const apis: Record<string, { url: string; close(): unknown }> = {};

type Start = (options: GuardOptions) => { handler: RequestListener; close?(): unknown };

/** Each serves /orders below a mount path or prefix, as real APIs do. */
const frameworks: Record<string, { format: 'jwt' | 'opaque'; start: Start }> = {
  koa: {
    format: 'jwt',
    start(options) {
      const guard = createGuard(options);
      const koa = new Koa();
      koa.use(koaResourceMetadata(guard));
      koa.use(koaGuard(guard));
      koa.use((ctx) => {
        ctx.body = { client: ctx.state.principal.clientId };
      });
      return { handler: koa.callback() };
    },
  },
  express: {
    format: 'opaque',
    start(options) {
      const guard = createGuard(options);
      const web = express();
      web.use(expressResourceMetadata(guard));
      const router = express.Router();
      router.get('/list', expressGuard(guard), (req, res) => {
        res.json({ client: (req as unknown as { principal: { clientId: string } }).principal.clientId });
      });
      web.use('/orders', router);
      return { handler: web };
    },
  },
  fastify: {
    format: 'jwt',
    start(options) {
      const guard = createGuard(options);
      const web = fastify();
      web.addHook('onRequest', fastifyResourceMetadata(guard));
      web.get('/orders/list', { preHandler: fastifyGuard(guard) }, (request) => ({
        client: (request as unknown as { principal: { clientId: string } }).principal.clientId,
      }));
      return { handler: (req, res) => void web.ready().then(() => web.routing(req, res)), close: () => web.close() };
    },
  },
};

beforeAll(async () => {
  server = await startTestServer();
  key = await newSigner();
  app = await server.admin.createClient();
  other = await server.admin.createClient();
  const introspector = await server.admin.createClient();
  for (const [name, { format, start }] of Object.entries(frameworks)) {
    const http = createServer();
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const audience = `${url}/orders`;
    await server.admin.createApi(audience, {
      scopes: ['read'],
      access_token_format: format,
      introspection_client_id: introspector.clientId,
    });
    for (const { clientId } of [app, other]) await server.admin.allow(clientId, audience, ['read']);
    const { handler, close } = start({
      issuer: server.issuer,
      audience,
      clients: [app.clientId],
      scopes: ['read'],
      mode: format === 'jwt' ? 'jwt' : 'introspection',
      introspection: introspector,
      metadata: { name: 'Orders' },
      dpop: {},
    });
    http.on('request', handler);
    apis[name] = { url, close: () => [http.close(), http.closeAllConnections(), close?.()] };
  }
});
afterAll(async () => {
  for (const api of Object.values(apis)) api.close();
  await server.stop();
});

async function boundToken(audience: string, client = app, signer = key): Promise<string> {
  const dpop = await dpopProof(signer, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  const authorization = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`;
  const body = new URLSearchParams({ grant_type: 'client_credentials', resource: audience });
  const response = await fetch(`${server.issuer}/oauth2/token`, {
    method: 'POST',
    headers: { dpop, authorization },
    body,
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

function athOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

interface Presentation {
  readonly scheme?: string;
  readonly proof?: Changes;
  readonly signer?: Signer;
  readonly headers?: Record<string, string>;
}

describe.each(Object.keys(frameworks))('%s', (name) => {
  let url: string;
  let token: string;
  beforeAll(async () => {
    url = `${apis[name]?.url}/orders/list`;
    token = await boundToken(`${apis[name]?.url}/orders`);
  });

  /** A valid request, except for the changes. */
  async function call({ scheme = 'DPoP', proof = {}, signer = key, headers = {} }: Presentation = {}): Promise<Answer> {
    const claims = { ath: athOf(token), ...proof.claims };
    const dpop = await dpopProof(signer, { htm: 'GET', htu: url }, { ...proof, claims });
    return toAnswer(
      await fetch(`${url}?page=2`, { headers: { authorization: `${scheme} ${token}`, dpop, ...headers } }),
    );
  }

  test('an app with openid-client is accepted', async () => {
    const configuration = await honest(server, app);
    const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    const parameters = { resource: `${apis[name]?.url}/orders` };
    const tokens = await clientCredentialsGrant(configuration, parameters, { DPoP });
    const target = new URL(`${url}?page=2`);
    const response = await fetchProtectedResource(configuration, tokens.access_token, target, 'GET', null, undefined, {
      DPoP,
    });
    expect([response.status, await response.json()]).toEqual([200, { client: app.clientId }]);
  });

  test('the same request without a library is accepted: the refusals below are for their change only', async () => {
    expect((await call()).status).toBe(200);
  });

  test('the clock of an app may be eight seconds ahead (FAPI 2.0)', async () => {
    expect((await call({ proof: { claims: { iat: inSeconds(8), nbf: inSeconds(8) } } })).status).toBe(200);
  });

  test('the htu of a proof may have a query and a fragment (RFC 9449 §4.3)', async () => {
    expect((await call({ proof: { claims: { htu: `${url}?page=3#top` } } })).status).toBe(200);
  });

  test('a stolen token is refused as Bearer, and the challenge asks for a proof (RFC 9449 §7.2)', async () => {
    const { status, headers, body } = await call({ scheme: 'Bearer' });
    expect([status, body.error]).toEqual([401, 'invalid_token']);
    expect(headers.get('www-authenticate')).toMatch(/^DPoP .*error="invalid_token".*algs="ES256 PS256/);
    const bare = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    expect(bare.status).toBe(401);
  });

  const wrong: [string, (own: Signer) => Presentation | Promise<Presentation>][] = [
    ['a proof of the attacker’s own key', async () => ({ signer: await newSigner() })],
    ['a proof for another method', () => ({ proof: { claims: { htm: 'POST' } } })],
    ['a proof for the method in another spelling', () => ({ proof: { claims: { htm: 'get' } } })],
    ['a proof for another path', () => ({ proof: { claims: { htu: `${url}/other` } } })],
    ['a proof for the path with a slash at its end', () => ({ proof: { claims: { htu: `${url}/` } } })],
    ['a proof for the path in another spelling', () => ({ proof: { claims: { htu: url.replace('list', 'LIST') } } })],
    ['a proof for another port', () => ({ proof: { claims: { htu: 'http://127.0.0.1/orders/list' } } })],
    [
      'a proof for another API, with its name in Host',
      () => ({
        proof: { claims: { htu: 'https://evil.example/orders/list' } },
        headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
      }),
    ],
    ['a proof for another token', () => ({ proof: { claims: { ath: athOf('another') } } })],
    ['a proof without ath', () => ({ proof: { claims: { ath: undefined } } })],
    ['a proof from two minutes ago', () => ({ proof: { claims: { iat: inSeconds(-120) } } })],
    ['a proof from the future', () => ({ proof: { claims: { iat: inSeconds(120) } } })],
    ['a proof without jti', () => ({ proof: { claims: { jti: undefined } } })],
    ['a JWT of another type', () => ({ proof: { header: { typ: 'at+jwt' } } })],
    [
      'a proof with the private key in its header',
      async () => ({ proof: { header: { jwk: await exportJWK(key.privateKey) } } }),
    ],
  ];
  test.each(wrong)('%s is refused', async (_name, make) => {
    const { status, headers, body } = await call(await make(key));
    expect(status).toBe(401);
    expect(['invalid_dpop_proof', 'invalid_token']).toContain(body.error);
    expect(headers.get('www-authenticate')).toMatch(/^DPoP .*algs="ES256 PS256 Ed25519 EdDSA"/);
  });

  test('a proof that was observed cannot be replayed: of 20 requests at once, one is accepted', async () => {
    const dpop = await dpopProof(key, { htm: 'GET', htu: url }, { claims: { ath: athOf(token) } });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 401)]);
  });

  test('two proofs in one request are refused', async () => {
    const proofs = [1, 2].map(() => dpopProof(key, { htm: 'GET', htu: url }, { claims: { ath: athOf(token) } }));
    const dpop = (await Promise.all(proofs)).join(', ');
    const response = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } });
    expect(response.status).toBe(401);
  });

  test('a token of another client is 403, also with a valid proof', async () => {
    const foreign = await boundToken(`${apis[name]?.url}/orders`, other);
    const dpop = await dpopProof(key, { htm: 'GET', htu: url }, { claims: { ath: athOf(foreign) } });
    const response = await fetch(url, { headers: { authorization: `DPoP ${foreign}`, dpop } });
    expect([response.status, await response.json()]).toMatchObject([403, { error: 'client_not_allowed' }]);
  });

  test('without a token, the challenge points to the metadata (RFC 9728 §5.1), which name the issuer', async () => {
    const response = await fetch(url);
    expect(response.status).toBe(401);
    const challenge = response.headers.get('www-authenticate') ?? '';
    const metadataUrl = /resource_metadata="([^"]*)"/.exec(challenge)?.[1] as string;
    expect(metadataUrl).toBe(`${apis[name]?.url}/.well-known/oauth-protected-resource/orders`);
    expect(challenge).toMatch(/^Bearer .*DPoP /);
    const metadata = await fetch(metadataUrl);
    expect(metadata.headers.get('access-control-allow-origin')).toBe('*');
    expect(await metadata.json()).toEqual({
      resource: `${apis[name]?.url}/orders`,
      resource_name: 'Orders',
      authorization_servers: [server.issuer],
      bearer_methods_supported: ['header'],
      scopes_supported: ['read'],
      dpop_signing_alg_values_supported: ['ES256', 'PS256', 'Ed25519', 'EdDSA'],
    });
    expect((await fetch(metadataUrl, { method: 'OPTIONS' })).status).toBe(204);
  });

  test('the metadata are not sent to a client that has them (RFC 9110 §13.1.2)', async () => {
    const metadataUrl = `${apis[name]?.url}/.well-known/oauth-protected-resource/orders`;
    const whole = await fetch(metadataUrl);
    const length = String((await whole.text()).length);
    const tag = whole.headers.get('etag') as string;
    const head = await fetch(metadataUrl, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length') ?? length, await head.text()]).toEqual([200, length, '']);
    for (const [known, status] of [
      [tag, 304],
      [`"another", W/${tag}`, 304],
      ['"another"', 200],
    ] as const) {
      const answer = await fetch(metadataUrl, { headers: { 'if-none-match': known } });
      expect([known, answer.status, answer.headers.get('etag')]).toEqual([known, status, tag]);
      expect((await answer.text()) === '').toBe(status === 304);
    }
    const changed = await fetch(metadataUrl, { headers: { 'if-match': '"another"' } });
    expect([changed.status, changed.headers.get('cache-control')]).toEqual([412, 'no-store']);
  });
});

describe('guard.check without an adapter', () => {
  const AUDIENCE = 'https://orders.example';
  const certificate = Buffer.from('the DER of a certificate');
  const x5t = createHash('sha256').update(certificate).digest('base64url');

  function guardFor(claims: Record<string, unknown>, options: Partial<GuardOptions> = {}) {
    const valid = {
      iss: 'https://id.example',
      aud: AUDIENCE,
      sub: 'a',
      client_id: 'a',
      azp: 'a',
      exp: inSeconds(60),
    };
    return createGuard({
      issuer: 'https://id.example',
      audience: AUDIENCE,
      clients: ['a'],
      mode: { verify: async () => ({ ...valid, ...claims }) },
      ...options,
    });
  }

  test('a token that is bound to a certificate is refused without that certificate (RFC 8705 §3)', async () => {
    const guard = guardFor({ cnf: { 'x5t#S256': x5t } });
    const authorization = 'Bearer token';
    expect((await guard.check({ authorization, clientCertificate: certificate })).clientId).toBe('a');
    for (const clientCertificate of [undefined, Buffer.from('another')]) {
      await expect(guard.check({ authorization, clientCertificate })).rejects.toMatchObject({ code: 'invalid_token' });
    }
    expect((await refused(guard, authorization)).code).toBe('invalid_token');
  });

  test.each([[{ kid: 'x' }], [{}], ['text'], [null], [{ jkt: 7 }], [{ jkt: 'x', new: 'way' }]])(
    'an unknown confirmation method is refused: %j',
    async (cnf) => {
      const presentation = { authorization: 'Bearer token', clientCertificate: certificate };
      await expect(guardFor({ cnf }).check(presentation)).rejects.toMatchObject({ code: 'invalid_token' });
    },
  );

  test('dpop.required refuses plain bearer tokens, and a bearer token cannot pass for DPoP', async () => {
    expect(
      (await refused(guardFor({}, { dpop: { required: true } }), 'Bearer token')).headers['WWW-Authenticate'],
    ).toMatch(/^DPoP /);
    expect((await refused(guardFor({}), 'DPoP token')).code).toBe('invalid_token');
  });

  test('when the replay store is not available, the answer is 503', async () => {
    const replayStore: ReplayStore = { useOnce: () => Promise.reject(new Error('the shared store is down')) };
    const guard = guardFor({ cnf: { jkt: key.thumbprint } }, { dpop: { replayStore } });
    const request = { authorization: 'DPoP token', method: 'GET', target: '/x' };
    const dpop = await dpopProof(key, { htm: 'GET', htu: `${AUDIENCE}/x` }, { claims: { ath: athOf('token') } });
    await expect(guard.check({ ...request, dpop })).rejects.toMatchObject({ status: 503 });
  });

  test('with publicUrl, proofs are for the public URL of the API', async () => {
    const guard = guardFor({ cnf: { jkt: key.thumbprint } }, { publicUrl: 'https://api.example/v1/' });
    const request = { authorization: 'DPoP token', method: 'GET', target: '/x?y' };
    const proofFor = (htu: string) => dpopProof(key, { htm: 'GET', htu }, { claims: { ath: athOf('token') } });
    expect((await guard.check({ ...request, dpop: await proofFor('https://API.example:443/v1/x') })).clientId).toBe(
      'a',
    );
    const inner = guard.check({ ...request, dpop: await proofFor(`${AUDIENCE}/x`) });
    await expect(inner).rejects.toMatchObject({ code: 'invalid_dpop_proof' });
    const absolute = { ...request, target: 'https://evil.example/x', dpop: await proofFor('https://evil.example/x') };
    await expect(guard.check(absolute)).rejects.toMatchObject({ code: 'invalid_dpop_proof' });
  });

  test('invalid options stop the API at its start', () => {
    expect(() => guardFor({}, { dpop: { algorithms: ['HS256'] } })).toThrow(/dpop.algorithms/);
    expect(() => guardFor({}, { clients: 'granted' })).toThrow(/clients/);
    expect(() => guardFor({}, { audience: 'urn:x', metadata: {} })).toThrow(/metadata/);
  });
});
