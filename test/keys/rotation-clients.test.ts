// The server's signing keys change after a client has used keys of its own. The engine is built
// anew then, and loads every client again: what the old one did to the keys of a client must not
// reach the new one. A client that cannot be used until an operator changes it would be an outage
// that any client can cause for itself by a signed request object.

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { importPKCS8, type JWK } from 'jose';
import type { Answer } from '../support/admin.ts';
import { type Certificate, jwkWithCertificate, makeCertificate } from '../support/certificates.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ALICE, CODE_FLOW, obtainCode, REDIRECT_URI } from '../support/oauth.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { assertion, requestObject, type Signer } from '../support/signing.ts';
import { sendOverTls } from '../support/tls-client.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';
const SIGNED = { accept: 'application/token-introspection+jwt' };

const tls = makeCertificate({ subject: [['CN', 'lanyard']], dns: ['localhost'], isAuthority: true });
const authority = makeCertificate({ subject: [['CN', 'Authority']], isAuthority: true });
const certificate = makeCertificate({ subject: [['CN', 'shop']], dns: ['shop.example'], issuer: authority });

let folder: string;
let server: TestServer;
let origin: string;
let host: DocumentHost;
let signer: Signer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-rotation-'));
  const files = { cert: tls.cert, key: tls.key, ca: authority.cert };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const publicJwk = { ...jwkWithCertificate(certificate), kid: 'shop', alg: 'ES256' } as JWK;
  signer = { alg: 'ES256', privateKey: await importPKCS8(certificate.key, 'ES256'), publicJwk, thumbprint: '' };
  host = await startDocumentHost((request, response) => {
    const uri = `https://${host.host}${request.url}`;
    const document = request.url?.startsWith('/client') ? describeClient(uri) : { keys: [publicJwk] };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(document));
  });
  const tlsPort = await freePort();
  origin = `https://localhost:${tlsPort}`;
  server = await startTestServer({
    LANYARD_TLS_PORT: String(tlsPort),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
    LANYARD_TLS_CLIENT_CA_FILE: join(folder, 'ca'),
    LANYARD_MTLS_ORIGIN: origin,
    LANYARD_CLIENT_METADATA_HOSTS: host.host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host.host,
  });
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  await server.stop();
  host.close();
  await rm(folder, { recursive: true });
});

/** Software whose certificate is in its metadata document. */
function describeClient(clientId: string): object {
  return {
    ...{
      client_id: clientId,
      client_name: 'Agent',
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code'],
    },
    ...{ token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: { keys: [signer.publicJwk] } },
  };
}

interface TestedClient {
  readonly clientId: string;
  /** adds what authenticates the client to a form */
  post(path: string, form: Record<string, string>, headers?: Record<string, string>): Promise<Answer>;
}

type Credentials = (
  clientId: string,
  clientSecret: string,
) => Promise<{ form?: Record<string, string>; authorization?: string; certificate?: Certificate }>;

const byAssertion: Credentials = async (clientId) => ({ form: await assertion(server.issuer, clientId, signer) });
const byCertificate: Credentials = async (clientId) => ({ form: { client_id: clientId }, certificate });
const jwks = () => ({ jwks: { keys: [signer.publicJwk] } });
const jwksUri = () => ({ jwks_uri: `https://${host.host}/keys/${randomUUID()}` });

const METHODS: Record<string, { method: string; keys(): object; more?: object; credentials: Credentials }> = {
  client_secret_basic: {
    method: 'client_secret_basic',
    keys: jwks,
    credentials: async (id, secret) => ({
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    }),
  },
  client_secret_post: {
    method: 'client_secret_post',
    keys: jwks,
    credentials: async (id, secret) => ({ form: { client_id: id, client_secret: secret } }),
  },
  'private_key_jwt with jwks': { method: 'private_key_jwt', keys: jwks, credentials: byAssertion },
  'private_key_jwt with jwks_uri': { method: 'private_key_jwt', keys: jwksUri, credentials: byAssertion },
  tls_client_auth: {
    ...{ method: 'tls_client_auth', keys: jwks, more: { tls_client_auth_san_dns: 'shop.example' } },
    credentials: byCertificate,
  },
  'self_signed_tls_client_auth with jwks': {
    ...{ method: 'self_signed_tls_client_auth', keys: jwks, credentials: byCertificate },
  },
  'self_signed_tls_client_auth with jwks_uri': {
    ...{ method: 'self_signed_tls_client_auth', keys: jwksUri, credentials: byCertificate },
  },
  none: { method: 'none', keys: jwks, credentials: async (id) => ({ form: { client_id: id } }) },
};

async function register(name: string): Promise<TestedClient> {
  const { method, keys, more, credentials } = METHODS[name] as (typeof METHODS)[string];
  const grants = method === 'none' ? CODE_FLOW.grant_types : [...CODE_FLOW.grant_types, 'client_credentials'];
  const signed = { userinfo_signed_response_alg: 'ES256' };
  const authentication = { token_endpoint_auth_method: method, ...keys(), ...more };
  const metadata = { ...CODE_FLOW, grant_types: grants, ...signed, ...authentication };
  const { clientId, clientSecret } = await server.admin.createClient(metadata);
  if (method !== 'none') await server.admin.allow(clientId, API, ['read']);
  return {
    clientId,
    async post(path, form, headers = {}) {
      const { form: own = {}, authorization, certificate } = await credentials(clientId, clientSecret);
      const all = authorization === undefined ? headers : { ...headers, authorization };
      return sendOverTls({ origin, ca: tls.cert, certificate, path, form: { ...form, ...own }, headers: all });
    },
  };
}

async function signedRequest({ clientId }: Pick<TestedClient, 'clientId'>): Promise<string> {
  return requestObject(server.issuer, clientId, signer, {
    ...{ response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', jti: randomUUID() },
    ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' },
  });
}

/** Each returns its status, and what else shows that it worked. */
const USES: Record<string, (client: TestedClient) => Promise<unknown>> = {
  async 'a token request'(client) {
    const { status, body } = await client.post('/oauth2/token', { grant_type: 'client_credentials', resource: API });
    return body.error ?? status;
  },
  async 'a request object by value'(client) {
    const query = new URLSearchParams({ client_id: client.clientId, request: await signedRequest(client) });
    const { status, headers } = await fetch(`${server.issuer}/oauth2/authorize?${query}`, { redirect: 'manual' });
    return `${status} ${headers.get('location')?.replace(/\/[\w-]+$/, '')}`;
  },
  async 'a pushed request object'(client) {
    const { status, body } = await client.post('/oauth2/par', { request: await signedRequest(client) });
    return body.error ?? status;
  },
  async 'a signed introspection answer'(client) {
    const { status, headers, body } = await client.post('/oauth2/introspect', { token: 'unknown' }, SIGNED);
    return body.error ?? `${status} ${typeOf(headers)}`;
  },
  async 'a signed userinfo answer'(client) {
    const { code, verifier } = await obtainCode(server, { clientId: client.clientId, clientSecret: '' });
    const grant = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
    const token = (await client.post('/oauth2/token', grant)).body.access_token;
    const { status, headers } = await fetch(`${server.issuer}/oauth2/userinfo`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return `${status} ${typeOf(headers)}`;
  },
};

function typeOf(headers: Headers): string | undefined {
  return headers.get('content-type')?.split(';')[0];
}

async function rotate(): Promise<void> {
  const answer = await server.admin.request('POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 0 });
  expect(answer.status).toBe(201);
}

const WORKS = {
  'a token request': 200,
  'a request object by value': '303 /interaction',
  'a pushed request object': 201,
  'a signed introspection answer': '200 application/token-introspection+jwt',
  'a signed userinfo answer': '200 application/jwt',
};
/** RFC 6749 §4.4, RFC 7662 §2.1: a public client gets no token of its own, and may not introspect. */
const WORKS_IN_PUBLIC = {
  ...WORKS,
  'a token request': 'unauthorized_client',
  'a signed introspection answer': 'invalid_client',
};

describe.each(Object.keys(METHODS))('a client with %s', (name) => {
  test.each(Object.keys(USES))('is served by the next engine after %s', async (use) => {
    const expected: Readonly<Record<string, unknown>> = name === 'none' ? WORKS_IN_PUBLIC : WORKS;
    const client = await register(name);
    expect(await USES[use]?.(client)).toEqual(expected[use]);
    for (let rotation = 0; rotation < 2; rotation++) {
      await rotate();
      for (const again of ['a token request', 'a request object by value', 'a pushed request object', use]) {
        expect([again, await USES[again]?.(client)]).toEqual([again, expected[again]]);
      }
    }
  });
});

test('a client with a metadata document is served again after each request object', async () => {
  const clientId = `https://${host.host}/client/${randomUUID()}`;
  const use = USES['a request object by value'];
  for (let time = 0; time < 3; time++) {
    expect(await use?.({ clientId, post: () => Promise.reject() })).toBe('303 /interaction');
  }
});
