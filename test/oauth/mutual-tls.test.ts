// Mutual TLS (RFC 8705) with real handshakes on our own TLS listener: clients that authenticate with a certificate, and tokens that
// cannot be used without it.

import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import {
  allowInsecureRequests,
  clientCredentialsGrant,
  customFetch,
  discovery,
  getDPoPHandle,
  randomDPoPKeyPair,
  TlsClientAuth,
} from 'openid-client';
import { Agent, fetch as undiciFetch } from 'undici';
import { introspect, postForm, type TestClient } from '../support/admin.ts';
import { type Certificate, jwkWithCertificate, makeCertificate } from '../support/certificates.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { EXCHANGE } from '../support/exchange-chain.ts';
import { ALICE, CODE_FLOW, obtainCode, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startOtherNode } from '../support/other-node.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner } from '../support/signing.ts';
import { sendOverTls } from '../support/tls-client.ts';

const API = 'https://api.example';
const OPAQUE_API = 'https://opaque.example';
const CC = { grant_type: 'client_credentials', resource: API };

let folder: string;
let server: TestServer;
let origin: string;
let api: TestClient;
let host: DocumentHost;
const documents = new Map<string, object>();

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
  ip: ['192.0.2.7', '2001:db8:0:0:0:0:0:7'],
  issuer: authority,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-tls-'));
  const files = { cert: serverCertificate.cert, key: serverCertificate.key, ca: authority.cert };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  host = await startDocumentHost((request, response) => {
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(documents.get(request.url ?? '')));
  });
  const tlsPort = await freePort();
  origin = `https://localhost:${tlsPort}`;
  server = await startTestServer({
    LANYARD_TLS_PORT: String(tlsPort),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
    LANYARD_TLS_CLIENT_CA_FILE: join(folder, 'ca'),
    LANYARD_MTLS_ORIGIN: origin,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host.host,
  });
  api = await server.admin.createClient();
  const members = { scopes: ['read'], introspection_client_id: api.clientId };
  await server.admin.createApi(API, members);
  await server.admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  await server.stop();
  host.close();
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

/** RFC 8705 §3.1 */
function thumbprintOf({ der }: Certificate): string {
  return createHash('sha256').update(der).digest('base64url');
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
    ['tls_client_auth_san_ip', '2001:DB8::7'],
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
    ['tls_client_auth_san_ip', '2001:db8::70'],
  ])('%s %s does not match the certificate', async (member, value) => {
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
  ])('a certificate like that, %s, does not authenticate this client', async (_name, certificate) => {
    const client = await createClient({ ...METHOD, tls_client_auth_san_dns: 'shop.example' });
    const { status, body } = await tokenAs(client, certificate);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test('one of an authority that only has the name of ours gets no token', async () => {
    const client = await createClient({ ...METHOD, tls_client_auth_san_dns: 'shop.example' });
    const forged = makeCertificate({ subject: SUBJECT, dns: ['shop.example'], issuer: otherAuthority });
    // Node may cut the connection: OpenSSL's complaint about the signature can end up at the next read.
    const outcome = await tokenAs(client, forged).then(
      ({ body }) => body.error,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(['invalid_client', 'ECONNRESET', 'EPIPE']).toContain(outcome);
  });

  test('a certificate in a header is ignored without a trusted proxy: an attacker would be any client', async () => {
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

  const twoSubjects = { tls_client_auth_san_dns: 'a.example', tls_client_auth_san_ip: '192.0.2.1' };
  const keyWithoutCertificate = { ...jwkWithCertificate(shopCertificate), x5c: undefined };
  const SELF_SIGNED = { token_endpoint_auth_method: 'self_signed_tls_client_auth' };
  test.each<[string, Record<string, unknown>]>([
    ['token_endpoint_auth_method', METHOD],
    ['tls_client_auth_san_ip', { ...METHOD, ...twoSubjects }],
    ['tls_client_auth_san_ip', { ...METHOD, tls_client_auth_san_ip: 'shop.example' }],
    ['tls_client_auth_subject_dn', { ...METHOD, tls_client_auth_subject_dn: 'shop' }],
    ['tls_client_auth_san_dns', { tls_client_auth_san_dns: 'a.example' }],
    ['jwks_uri', SELF_SIGNED],
    ['jwks', { ...SELF_SIGNED, jwks: { keys: [keyWithoutCertificate] } }],
    [
      'tls_client_certificate_bound_access_tokens',
      { tls_client_certificate_bound_access_tokens: true, dpop_bound_access_tokens: true },
    ],
  ])('what contradicts itself is refused at registration, by its name: %s', async (member, members) => {
    const { body } = await server.admin.request('POST', '/clients', {
      grant_types: ['client_credentials'],
      ...members,
    });
    expect(body).toMatchObject({ status: 400, code: 'validation_failed', errors: [{ pointer: `/${member}` }] });
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

  test('it may be published at the client’s jwks_uri, and be told by its thumbprint', async () => {
    const jwk = { ...jwkWithCertificate(own), x5c: undefined, 'x5t#S256': thumbprintOf(own) };
    documents.set('/keys', { keys: [jwk] });
    const client = await createClient({ ...metadata(own), jwks: undefined, jwks_uri: `https://${host.host}/keys` });
    expect((await tokenAs(client, own)).status).toBe(200);
    expect((await tokenAs(client, shopCertificate)).body.error).toBe('invalid_client');
  });

  test('an outdated one does not authenticate a client', async () => {
    const outdated = makeCertificate({ notAfter: new Date(Date.now() - 1000) });
    expect((await tokenAs(await createClient(metadata(outdated)), outdated)).body.error).toBe('invalid_client');
  });
});

/** openid-client, which finds its way by the aliases. */
function overAliases({ clientId }: TestClient, dispatcher: Agent) {
  return discovery(new URL(server.issuer), clientId, { use_mtls_endpoint_aliases: true }, TlsClientAuth(), {
    execute: [allowInsecureRequests],
    [customFetch]: (url, options) => undiciFetch(url, { ...options, dispatcher } as never) as never,
  });
}

describe('tokens that are bound to a certificate', () => {
  const own = makeCertificate({ subject: [['CN', 'bound']] });
  const thief = makeCertificate({ subject: [['CN', 'bound']] });
  const thumbprint = thumbprintOf(own);
  const BOUND = { tls_client_certificate_bound_access_tokens: true };
  const BOUND_TO_DPOP = { tls_client_certificate_bound_access_tokens: false, dpop_bound_access_tokens: true };

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
    const configuration = await overAliases(client, agent);
    const tokens = await clientCredentialsGrant(configuration, { resource: API });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ azp: client.clientId, cnf: { 'x5t#S256': thumbprint } });
    await agent.close();
  });

  test('a client that authenticates with a certificate may bind tokens to a DPoP key instead: proofs are for the alias it calls', async () => {
    const client = await createBound(BOUND_TO_DPOP);
    const agent = new Agent({ connect: { cert: own.cert, key: own.key, ca: serverCertificate.cert } });
    const configuration = await overAliases(client, agent);
    const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    const tokens = await clientCredentialsGrant(configuration, { resource: API }, { DPoP });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ azp: client.clientId, cnf: { jkt: expect.any(String) } });
    await agent.close();
  });

  test('a proof for the issuer is not one for the alias, nor the other way round (RFC 9449 §4.3)', async () => {
    const client = await createBound(BOUND_TO_DPOP);
    const key = await newSigner();
    const ask = async (htu: string) => {
      const dpop = await dpopProof(key, { htm: 'POST', htu });
      return post('/oauth2/token', { ...CC, client_id: client.clientId }, own, { dpop });
    };
    expect((await ask(`${origin}/oauth2/token`)).body.token_type).toBe('DPoP');
    for (const elsewhere of [`${server.issuer}/oauth2/token`, `${origin}/oauth2/introspect`]) {
      expect((await ask(elsewhere)).body.error).toBe('invalid_dpop_proof');
    }
  });

  test('an assertion may be for the issuer, its token endpoint, or the alias of that (RFC 7523 §3)', async () => {
    const signer = await newSigner();
    const jwks = { keys: [signer.publicJwk] };
    const client = await createBound({ token_endpoint_auth_method: 'private_key_jwt', jwks });
    const ask = async (aud: string) => {
      const form = await assertion(server.issuer, client.clientId, signer, { claims: { aud } });
      return (await post('/oauth2/token', { ...CC, ...form }, own)).status;
    };
    for (const each of [server.issuer, `${server.issuer}/oauth2/token`, `${origin}/oauth2/token`]) {
      expect([each, await ask(each)]).toEqual([each, 200]);
    }
    expect(await ask('https://evil.example/oauth2/token')).toBe(401);
    expect(await ask(`${origin}/oauth2/par`)).toBe(401);
    // The alias is the token endpoint for those who call it there.
    const form = await assertion(server.issuer, client.clientId, signer, { claims: { aud: `${origin}/oauth2/token` } });
    expect((await postForm(`${server.issuer}/oauth2/token`, undefined, { ...CC, ...form })).status).toBe(401);
  });

  test('the addresses in an answer are at the issuer, also when it is asked with TLS and the issuer is http', async () => {
    const device = await createBound({ grant_types: [DEVICE_GRANT] });
    const { body } = await post('/oauth2/device_authorization', { client_id: device.clientId, scope: 'openid' }, own);
    expect(body.verification_uri).toBe(`${server.issuer}/oauth2/device`);
  });

  test('a client with a secret gets none without a certificate', async () => {
    const client = await createClient(BOUND);
    const credentials = { client_id: client.clientId, client_secret: client.clientSecret };
    expect((await post('/oauth2/token', { ...CC, ...credentials })).body.error).toBe('invalid_grant');
    const { body } = await post('/oauth2/token', { ...CC, ...credentials }, own);
    expect(decodeJwt(body.access_token as string).cnf).toEqual({ 'x5t#S256': thumbprint });
  });

  test.each([
    ['userinfo', undefined],
    ['an API, JWT', API],
    ['an API, opaque', OPAQUE_API],
  ])(
    'a thief of the tokens of a user can neither refresh nor read with another certificate: for %s',
    async (_for, resource) => {
      const client = await createBound(CODE_FLOW);
      const asked = { scope: 'openid offline_access', prompt: 'consent', resource };
      const issued = await obtainCode(server, client, asked);
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
    },
  );

  test('a token that is bound to a certificate cannot be exchanged for one that is not, or is bound to another', async () => {
    const members = { ...CODE_FLOW, ...BOUND, grant_types: [...CODE_FLOW.grant_types, EXCHANGE] };
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
      grant_type: EXCHANGE,
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

  test('the refresh token of a public app is worth nothing without its certificate (RFC 8705 §4)', async () => {
    const client = await createClient({ ...CODE_FLOW, ...PUBLIC, ...BOUND });
    const issued = await obtainCode(server, client, { scope: 'openid offline_access', prompt: 'consent' });
    const code = { code: issued.code, code_verifier: issued.verifier, redirect_uri: REDIRECT_URI };
    const form = { grant_type: 'authorization_code', client_id: client.clientId, ...code };
    const tokens = await post('/oauth2/token', form, own);
    const stolen = { grant_type: 'refresh_token', client_id: client.clientId };
    const refresh = (certificate?: Certificate) =>
      post('/oauth2/token', { ...stolen, refresh_token: tokens.body.refresh_token as string }, certificate);
    for (const certificate of [undefined, thief]) {
      expect((await refresh(certificate)).body.error).toBe('invalid_grant');
    }
    expect((await refresh(own)).status).toBe(200);
    // Nor within the grace of a token that was just rotated, where its own app gets tokens once more.
    for (const certificate of [undefined, thief]) {
      expect((await refresh(certificate)).body.error).toBe('invalid_grant');
    }
    const again = await refresh(own);
    expect([again.status, again.body.refresh_token]).toEqual([200, expect.any(String)]);
  });

  test('the audit log names the key of a token, so that those of a stolen one can be found', async () => {
    const client = await createBound();
    await post('/oauth2/token', { ...CC, client_id: client.clientId }, own);
    const { body } = await server.admin.request('GET', `/audit-events?type=token.issued&client_id=${client.clientId}`);
    expect(body.items).toMatchObject([{ detail: { cnf: { 'x5t#S256': thumbprint } } }]);
  });

  test('the admin API takes a bound token with its certificate, and with no other one', async () => {
    const client = await createBound();
    const resource = `${server.issuer}/admin`;
    await server.admin.allow(client.clientId, resource, ['admin:read']);
    const { body } = await post('/oauth2/token', { ...CC, resource, client_id: client.clientId }, own);
    const read = async (certificate?: Certificate) => {
      const headers = { authorization: `Bearer ${body.access_token}` };
      const options = { origin, ca: serverCertificate.cert, certificate, path: '/admin/v1/clients', headers };
      return (await sendOverTls(options)).status;
    };
    expect([await read(own), await read(thief), await read()]).toEqual([200, 401, 401]);
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

describe('a server that takes no certificates', () => {
  const BOUND = { grant_types: ['client_credentials'], tls_client_certificate_bound_access_tokens: true };

  test('registers no client whose tokens it could not bind', async () => {
    const plain = await startTestServer();
    const { status, body } = await plain.admin.request('POST', '/clients', BOUND);
    expect([status, body.errors]).toMatchObject([400, [{ pointer: '/tls_client_certificate_bound_access_tokens' }]]);
    await plain.stop();
  });

  test('gives those that are registered nothing, and no bearer token above all', async () => {
    const client = await createClient(BOUND);
    const node = await startOtherNode(server, { LANYARD_TLS_PORT: '', LANYARD_MTLS_ORIGIN: '' });
    const { status, body } = await node.post('/oauth2/token', client, CC);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    await node.stop();
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
