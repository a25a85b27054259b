// Mutual TLS (RFC 8705) with real handshakes on our own TLS listener: clients that authenticate with a certificate, and tokens that
// nobody can use without it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { allowInsecureRequests, clientCredentialsGrant, customFetch, discovery, TlsClientAuth } from 'openid-client';
import { Agent, fetch as undiciFetch } from 'undici';
import { introspect, type TestClient } from '../support/admin.ts';
import { type Certificate, jwkWithCertificate, makeCertificate } from '../support/certificates.ts';
import { ALICE, CODE_FLOW, obtainCode, REDIRECT_URI } from '../support/oauth.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { sendOverTls } from '../support/tls-client.ts';

const API = 'https://api.example';
const OPAQUE_API = 'https://opaque.example';
const CC = { grant_type: 'client_credentials', resource: API };

let folder: string;
let server: TestServer;
let origin: string;
let api: TestClient;

const serverCertificate = makeCertificate({ subject: [['CN', 'lanyard']], dns: ['localhost'], isAuthority: true });
const authority = makeCertificate({ subject: [['CN', 'Corner Authority']], isAuthority: true });
const otherAuthority = makeCertificate({ subject: [['CN', 'Corner Authority']], isAuthority: true });
const SUBJECT = [
  ['C', 'NO'],
  ['O', 'Corner, Shop & "Sons"'],
  ['CN', 'shop'],
] as const;
const shopCertificate = makeCertificate({
  subject: SUBJECT,
  dns: ['shop.example', 'other.example'],
  uri: ['https://shop.example/a,b'],
  email: ['ops@shop.example'],
  ip: ['192.0.2.7'],
  issuer: authority,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-tls-'));
  const files = { cert: serverCertificate.cert, key: serverCertificate.key, ca: authority.cert };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const tlsPort = await freePort();
  origin = `https://localhost:${tlsPort}`;
  server = await startTestServer({
    LANYARD_TLS_PORT: String(tlsPort),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
    LANYARD_TLS_CLIENT_CA_FILE: join(folder, 'ca'),
    LANYARD_MTLS_ORIGIN: origin,
  });
  api = await server.admin.createClient();
  const members = { scopes: ['read'], introspection_client_id: api.clientId };
  await server.admin.createApi(API, members);
  await server.admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

async function createClient(members: Record<string, unknown>): Promise<TestClient> {
  const client = await server.admin.createClient({ grant_types: ['client_credentials'], ...members });
  for (const each of [API, OPAQUE_API]) await server.admin.allow(client.clientId, each, ['read']);
  return client;
}

function post(path: string, form: Record<string, string>, certificate?: Certificate, headers?: Record<string, string>) {
  return sendOverTls({ origin, ca: serverCertificate.cert, certificate, path, form, ...(headers && { headers }) });
}

const tokenAs = ({ clientId }: TestClient, certificate?: Certificate) =>
  post('/oauth2/token', { ...CC, client_id: clientId }, certificate);

test('discovery says what is possible, and where', async () => {
  const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
  expect(discovery).toMatchObject({
    tls_client_certificate_bound_access_tokens: true,
    token_endpoint_auth_methods_supported: expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    token_endpoint: `${server.issuer}/oauth2/token`,
    mtls_endpoint_aliases: {
      token_endpoint: `${origin}/oauth2/token`,
      introspection_endpoint: `${origin}/oauth2/introspect`,
      revocation_endpoint: `${origin}/oauth2/revoke`,
      userinfo_endpoint: `${origin}/oauth2/userinfo`,
      pushed_authorization_request_endpoint: `${origin}/oauth2/par`,
      device_authorization_endpoint: `${origin}/oauth2/device_authorization`,
    },
  });
});

describe('tls_client_auth', () => {
  const METHOD = { token_endpoint_auth_method: 'tls_client_auth' };

  test.each([
    ['tls_client_auth_subject_dn', 'CN=shop,O=Corner\\, Shop & \\"Sons\\",C=NO'],
    ['tls_client_auth_subject_dn', 'cn=shop, o=Corner\\2C Shop & \\22Sons\\22, c=NO'],
    ['tls_client_auth_san_dns', 'Shop.Example'],
    ['tls_client_auth_san_uri', 'https://shop.example/a,b'],
    ['tls_client_auth_san_email', 'ops@shop.example'],
    ['tls_client_auth_san_ip', '192.0.2.7'],
  ])('%s %s is the client', async (member, value) => {
    const client = await createClient({ ...METHOD, [member]: value });
    const { status, body } = await tokenAs(client, shopCertificate);
    expect([status, body.token_type]).toEqual([200, 'Bearer']);
    const claims = decodeJwt(body.access_token as string);
    expect([claims.client_id, claims.azp]).toEqual([client.clientId, client.clientId]);
    expect(claims).not.toHaveProperty('cnf');
  });

  test.each([
    ['tls_client_auth_subject_dn', 'CN=shop'],
    ['tls_client_auth_subject_dn', 'C=NO,O=Corner\\, Shop & \\"Sons\\",CN=shop'],
    ['tls_client_auth_subject_dn', 'CN=shop,O=Corner\\, Shop & \\"Sons\\"\\,C=NO'],
    ['tls_client_auth_subject_dn', 'CN=Shop,O=Corner\\, Shop & \\"Sons\\",C=NO'],
    ['tls_client_auth_subject_dn', 'CN=shop+O=Corner\\, Shop & \\"Sons\\",C=NO'],
    ['tls_client_auth_san_dns', 'hop.example'],
    ['tls_client_auth_san_dns', '*.example'],
    ['tls_client_auth_san_dns', '192.0.2.7'],
    ['tls_client_auth_san_uri', 'https://shop.example/a'],
    ['tls_client_auth_san_email', 'OPS@shop.example'],
    ['tls_client_auth_san_ip', '192.0.2.70'],
  ])('%s %s is somebody else', async (member, value) => {
    const client = await createClient({ ...METHOD, [member]: value });
    const { status, body } = await tokenAs(client, shopCertificate);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test.each<[string, Certificate | undefined]>([
    ['none', undefined],
    ['one that the client signed itself', makeCertificate({ subject: SUBJECT, dns: ['shop.example'] })],
    [
      'one that has expired',
      makeCertificate({
        dns: ['shop.example'],
        issuer: authority,
        notBefore: new Date(Date.now() - 2 * 86_400_000),
        notAfter: new Date(Date.now() - 60_000),
      }),
    ],
    [
      'one that is not valid yet',
      makeCertificate({ dns: ['shop.example'], issuer: authority, notBefore: new Date(Date.now() + 60_000) }),
    ],
    [
      'one that another client signed with its own',
      makeCertificate({ dns: ['shop.example'], issuer: shopCertificate }),
    ],
  ])('with a certificate like that, %s, nobody is this client', async (_name, certificate) => {
    const client = await createClient({ ...METHOD, tls_client_auth_san_dns: 'shop.example' });
    const { status, body } = await tokenAs(client, certificate);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test('one of an authority that only has the name of ours gets nobody a token', async () => {
    const client = await createClient({ ...METHOD, tls_client_auth_san_dns: 'shop.example' });
    const forged = makeCertificate({ subject: SUBJECT, dns: ['shop.example'], issuer: otherAuthority });
    // Node may cut the connection: OpenSSL's complaint about the signature can end up at the next read.
    const outcome = await tokenAs(client, forged).then(
      ({ body }) => body.error,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(['invalid_client', 'ECONNRESET', 'EPIPE']).toContain(outcome);
  });

  test('a header does not stand for a certificate: nobody is a trusted proxy here', async () => {
    const client = await createClient({ ...METHOD, tls_client_auth_san_dns: 'shop.example' });
    const pem = encodeURIComponent(shopCertificate.cert);
    for (const name of ['client-cert', 'x-client-cert', 'x-ssl-client-cert', 'ssl-client-cert']) {
      const headers = { [name]: pem, [`${name}-verify`]: 'SUCCESS' };
      const overTls = await post('/oauth2/token', { ...CC, client_id: client.clientId }, undefined, headers);
      const plain = await fetch(`${server.issuer}/oauth2/token`, {
        method: 'POST',
        headers,
        body: new URLSearchParams({ ...CC, client_id: client.clientId }),
      });
      expect([overTls.status, plain.status]).toEqual([401, 401]);
    }
  });

  test('what contradicts itself is refused at registration', async () => {
    const register = (members: Record<string, unknown>) =>
      server.admin.request('POST', '/clients', { grant_types: ['client_credentials'], ...members });
    expect((await register(METHOD)).body).toMatchObject({ status: 400, code: 'validation_failed' });
    const two = { tls_client_auth_san_dns: 'a.example', tls_client_auth_san_ip: '192.0.2.1' };
    expect((await register({ ...METHOD, ...two })).body).toMatchObject({ status: 400, code: 'validation_failed' });
    const both = { tls_client_certificate_bound_access_tokens: true, dpop_bound_access_tokens: true };
    expect((await register(both)).body).toMatchObject({ status: 400, code: 'validation_failed' });
    const selfSigned = { token_endpoint_auth_method: 'self_signed_tls_client_auth' };
    expect((await register(selfSigned)).body).toMatchObject({ status: 400, errors: [{ pointer: '/jwks_uri' }] });
  });
});

describe('self_signed_tls_client_auth', () => {
  const own = makeCertificate({ subject: [['CN', 'anything']] });
  const metadata = (certificate: Certificate) => ({
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: { keys: [jwkWithCertificate(certificate)] },
  });

  test('the certificate that was registered is the client, and no other one is', async () => {
    const client = await createClient(metadata(own));
    expect((await tokenAs(client, own)).status).toBe(200);
    const sameName = makeCertificate({ subject: [['CN', 'anything']] });
    for (const certificate of [undefined, sameName, shopCertificate]) {
      expect((await tokenAs(client, certificate)).body.error).toBe('invalid_client');
    }
  });

  test('an outdated one authenticates nobody', async () => {
    const outdated = makeCertificate({ notAfter: new Date(Date.now() - 1000) });
    expect((await tokenAs(await createClient(metadata(outdated)), outdated)).body.error).toBe('invalid_client');
  });
});

describe('tokens that are bound to a certificate', () => {
  const own = makeCertificate({ subject: [['CN', 'bound']] });
  const thief = makeCertificate({ subject: [['CN', 'bound']] });
  const thumbprint = Buffer.from(own.x509.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
  const BOUND = { tls_client_certificate_bound_access_tokens: true };

  const createBound = (members: Record<string, unknown> = {}) =>
    createClient({
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [jwkWithCertificate(own)] },
      ...BOUND,
      ...members,
    });

  test.each([API, OPAQUE_API])('every token for %s says so, to the API as well', async (resource) => {
    const client = await createBound();
    const { body } = await post('/oauth2/token', { ...CC, resource, client_id: client.clientId }, own);
    const answer = await introspect(server.issuer, api, body.access_token as string);
    expect(answer.body).toMatchObject({
      active: true,
      client_id: client.clientId,
      azp: client.clientId,
      cnf: { 'x5t#S256': thumbprint },
    });
  });

  test('openid-client, which finds the way by the aliases, gets one', async () => {
    const client = await createBound();
    const agent = new Agent({ connect: { cert: own.cert, key: own.key, ca: serverCertificate.cert } });
    const configuration = await discovery(
      new URL(server.issuer),
      client.clientId,
      { use_mtls_endpoint_aliases: true },
      TlsClientAuth(),
      {
        execute: [allowInsecureRequests],
        [customFetch]: (url, options) => undiciFetch(url, { ...options, dispatcher: agent } as never) as never,
      },
    );
    const tokens = await clientCredentialsGrant(configuration, { resource: API });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ azp: client.clientId, cnf: { 'x5t#S256': thumbprint } });
    await agent.close();
  });

  test('a client with a secret gets none without a certificate', async () => {
    const client = await createClient(BOUND);
    const credentials = { client_id: client.clientId, client_secret: client.clientSecret };
    expect((await post('/oauth2/token', { ...CC, ...credentials })).body.error).toBe('invalid_grant');
    const { body } = await post('/oauth2/token', { ...CC, ...credentials }, own);
    expect(decodeJwt(body.access_token as string).cnf).toEqual({ 'x5t#S256': thumbprint });
  });

  test('whoever has copied tokens of a user can neither refresh nor read with another certificate', async () => {
    const client = await createBound(CODE_FLOW);
    const issued = await obtainCode(server, client, { scope: 'openid offline_access', prompt: 'consent' });
    const form = {
      grant_type: 'authorization_code',
      client_id: client.clientId,
      code: issued.code,
      code_verifier: issued.verifier,
      redirect_uri: REDIRECT_URI,
    };
    const { status, body } = await post('/oauth2/token', form, own);
    expect(status).toBe(200);
    const userinfo = (certificate?: Certificate) =>
      sendOverTls({
        origin,
        ca: serverCertificate.cert,
        certificate,
        path: '/oauth2/userinfo',
        headers: { authorization: `Bearer ${body.access_token}` },
      });
    expect((await userinfo(own)).status).toBe(200);
    for (const certificate of [undefined, thief]) expect((await userinfo(certificate)).status).toBe(401);
    const plain = await fetch(`${server.issuer}/oauth2/userinfo`, {
      headers: { authorization: `Bearer ${body.access_token}` },
    });
    expect(plain.status).toBe(401);
    const refreshed = {
      grant_type: 'refresh_token',
      refresh_token: body.refresh_token as string,
      client_id: client.clientId,
    };
    expect((await post('/oauth2/token', refreshed, thief)).status).toBe(401);
    expect((await post('/oauth2/token', refreshed, own)).status).toBe(200);
  });

  test('a token that is bound to a certificate cannot be exchanged for one that is not, or is bound to another', async () => {
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const members = { ...CODE_FLOW, ...BOUND, grant_types: [...CODE_FLOW.grant_types, exchange] };
    const client = await createClient({ ...members, token_endpoint_auth_method: 'client_secret_post' });
    const path = `/resource-servers/${encodeURIComponent(OPAQUE_API)}`;
    const delegation = { max_depth: 1, allowed_clients: null };
    await server.admin.request('PATCH', path, { delegation });
    const row = { scopes: ['read'], token_exchange: true };
    await server.admin.request('PUT', `${path}/clients/${client.clientId}`, row);
    const issued = await obtainCode(server, client, { scope: 'openid read', resource: API });
    const credentials = { client_id: client.clientId, client_secret: client.clientSecret };
    const form = {
      grant_type: 'authorization_code',
      code: issued.code,
      code_verifier: issued.verifier,
      redirect_uri: REDIRECT_URI,
    };
    const { body } = await post('/oauth2/token', { ...form, ...credentials }, own);
    const subject = {
      grant_type: exchange,
      subject_token: body.access_token as string,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: OPAQUE_API,
    };
    const attempt = (certificate?: Certificate) => post('/oauth2/token', { ...subject, ...credentials }, certificate);
    expect((await attempt(thief)).body.error).toBe('invalid_request');
    expect((await attempt()).body.error).toBe('invalid_grant');
    // Not even when the client is not obliged any more.
    const obligation = { tls_client_certificate_bound_access_tokens: false };
    expect((await attempt(own)).status).toBe(200);
    expect((await server.admin.request('PATCH', `/clients/${client.clientId}`, obligation)).status).toBe(200);
    expect((await attempt()).body.error).toBe('invalid_request');
  });

  test('a FAPI 2.0 client may be one of these', async () => {
    const members = { ...CODE_FLOW, security_profile: 'fapi2' };
    const client = await createBound(members);
    const { body } = await server.admin.request('GET', `/clients/${client.clientId}`);
    expect(body).toMatchObject({ tls_client_certificate_bound_access_tokens: true, dpop_bound_access_tokens: false });
    const pushed = await post('/oauth2/par', { client_id: client.clientId, response_type: 'code' }, own);
    expect(pushed.body.error).toBe('invalid_request'); // authenticated, but without PKCE
  });
});

test('the listener serves as any other does, and knows no other host', async () => {
  const get = (path: string, headers = {}) => sendOverTls({ origin, ca: serverCertificate.cert, path, headers });
  expect((await get('/health/ready')).status).toBe(200);
  expect((await get('/.well-known/openid-configuration')).body.issuer).toBe(server.issuer);
  expect((await get('/.well-known/openid-configuration', { host: 'evil.example' })).status).toBe(421);
});

test('its files are a matter of the start: one that cannot be read ends it', async () => {
  const env = { LANYARD_TLS_PORT: '0', LANYARD_TLS_KEY_FILE: join(folder, 'missing') };
  await expect(server.startTwin(env)).rejects.toThrow('LANYARD_TLS_KEY_FILE cannot be read: ENOENT');
  const foreign = { LANYARD_TLS_PORT: '0', LANYARD_TLS_KEY_FILE: join(folder, 'cert') };
  await expect(server.startTwin(foreign)).rejects.toThrow('do not go together');
});
