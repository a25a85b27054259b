// Keys of clients (RFC 7517). Software that registers itself chooses how much each
// verification with them costs this server: 22 RSA keys of 16,384 bits cost 600 ms for a signature
// that fits none of them.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { type Answer, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { authorizationUrl, CODE_FLOW, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';
let server: TestServer;
let documents: DocumentHost;
let published: unknown;
let signer: Signer;
let idle: TestClient;

beforeAll(async () => {
  const publish: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(published));
  };
  documents = await startDocumentHost(publish);
  const { host } = documents;
  server = await startTestServer({
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
    LANYARD_REGISTRATIONS_PER_HOUR: '1000',
  });
  signer = await newSigner();
  idle = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  await server.admin.createApi(API, { scopes: ['read'] });
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

/** Of a size that takes minutes to make, which an attacker has. */
function rsaKey(bits: number, members: Record<string, unknown> = {}): Record<string, unknown> {
  const modulus = randomBytes(bits / 8);
  modulus[0] = (modulus[0] ?? 0) | 0x80;
  modulus[modulus.length - 1] = (modulus.at(-1) ?? 0) | 1;
  return { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB', kid: randomBytes(4).toString('hex'), ...members };
}

async function rsaSigner(modulusLength: number): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair('PS256', { modulusLength, extractable: true });
  const jwk = await exportJWK(publicKey);
  const thumbprint = await calculateJwkThumbprint(jwk);
  return { alg: 'PS256', privateKey, publicJwk: { ...jwk, kid: thumbprint }, thumbprint };
}

const ecKeys = (count: number) =>
  Array.from({ length: count }, (_, n) => ({
    ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
    kid: `key ${n}`,
  }));

const metadata = (keys: readonly unknown[]) => ({
  redirect_uris: [REDIRECT_URI],
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys },
});

async function selfRegister(keys: readonly unknown[]): Promise<Answer> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' } };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register`, { ...init, body: JSON.stringify(metadata(keys)) }));
}

let documentCount = 0;

/** A client with a metadata document pushes a request. */
async function publishDocument(keys: readonly unknown[]): Promise<Answer> {
  const clientId = `https://${documents.host}/${++documentCount}.json`;
  published = { client_id: clientId, client_name: 'Agent', ...metadata(keys) };
  const url = authorizationUrl(server.issuer, {
    client_id: clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
  });
  const answer = await fetch(url, { redirect: 'manual' });
  return { status: answer.status === 303 ? 201 : answer.status, headers: answer.headers, body: {} };
}

const WAYS: [string, (keys: readonly unknown[]) => Promise<Answer>][] = [
  ['the admin API', (keys) => server.admin.request('POST', '/clients', metadata(keys))],
  ['a registration (RFC 7591)', selfRegister],
  ['a metadata document', publishDocument],
];

describe.each(WAYS)('%s', (_way, register) => {
  test.each<[string, () => unknown[]]>([
    ['an RSA key of 16,384 bits', () => [rsaKey(16_384)]],
    ['an RSA key of 4,104 bits', () => [rsaKey(4_104)]],
    ['an RSA key of 1,024 bits, which can be broken', () => [rsaKey(1_024)]],
    ['an exponent as long as the modulus', () => [rsaKey(2_048, { e: randomBytes(255).toString('base64url') })]],
    ['an exponent of 33 bits', () => [rsaKey(2_048, { e: Buffer.from([1, 0, 0, 0, 1]).toString('base64url') })]],
    ['eleven keys', () => ecKeys(11)],
    [
      'two keys, one of them without kid',
      () => ecKeys(2).map(({ kid, ...key }, n) => (n === 0 ? { ...key, kid } : key)),
    ],
  ])('refuses %s', async (_what, keys) => {
    const { status, body } = await register(keys());
    expect(status).toBe(400);
    if (Object.keys(body).length > 0) expect(JSON.stringify(body)).toMatch(/jwks|key/);
  });

  test.each<[string, () => unknown[]]>([
    ['RSA keys of 2,048 and 4,096 bits', () => [rsaKey(2_048), rsaKey(4_096)]],
    ['the largest exponent', () => [rsaKey(2_048, { e: Buffer.from([255, 255, 255, 255]).toString('base64url') })]],
    ['leading zeros', () => [rsaKey(2_048, { e: Buffer.from([0, 0, 0, 1, 0, 1]).toString('base64url') })]],
    ['ten keys', () => ecKeys(10)],
    ['one key without kid', () => ecKeys(1).map(({ kid: _kid, ...key }) => key)],
  ])('takes %s', async (_what, keys) => {
    expect((await register(keys())).status).toBe(201);
  });

  test('drops members that nobody knows before it stores a key, and refuses none (RFC 7517 §4)', async () => {
    const [key] = ecKeys(1);
    const filler = 'x'.repeat(1_000);
    expect((await register([{ ...key, filler, nested: { filler }, ext: true, iat: 1 }])).status).toBe(201);
    const { rows } = await server.sql.query(
      "SELECT metadata->'jwks' AS jwks FROM clients ORDER BY created_at DESC LIMIT 1",
    );
    expect(rows[0].jwks).toEqual({ keys: [key] });
  });

  test('still refuses private keys instead of forgetting that they are', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
    expect((await register([pair])).status).toBe(400);
  });
});

test('a change of a registration has the same limits', async () => {
  const { body } = await selfRegister(ecKeys(1));
  const headers = {
    'content-type': 'application/json',
    authorization: `Bearer ${String(body.registration_access_token)}`,
  };
  const replace = (keys: readonly unknown[]) =>
    fetch(String(body.registration_client_uri), {
      method: 'PUT',
      headers,
      body: JSON.stringify({ ...metadata(keys), client_id: body.client_id }),
    });
  expect((await replace([rsaKey(8_192)])).status).toBe(400);
  expect((await replace(ecKeys(2))).status).toBe(200);
  const path = `/clients/${String(body.client_id)}`;
  expect((await server.admin.request('PATCH', path, { jwks: { keys: [rsaKey(8_192)] } })).status).toBe(400);
});

test('a client whose keys were accepted before there were limits can be changed in everything else', async () => {
  const { clientId } = await server.admin.createClient({ ...CODE_FLOW, jwks: { keys: ecKeys(1) } });
  const keys = [rsaKey(8_192), ...ecKeys(11).map(({ kid: _kid, ...key }) => key)];
  const former = JSON.stringify({ jwks: { keys } });
  await server.sql.query('UPDATE clients SET metadata = metadata || $2 WHERE client_id = $1', [clientId, former]);
  const change = (patch: unknown) => server.admin.request('PATCH', `/clients/${clientId}`, patch);
  expect((await change({ redirect_uris: [`${REDIRECT_URI}/two`] })).status).toBe(200);
  expect((await change({ jwks: { keys: keys.slice(0, 3) } })).status).toBe(400);
  expect((await change({ jwks: { keys: ecKeys(2) } })).status).toBe(200);
});

describe('keys at jwks_uri', () => {
  async function authenticate(keys: readonly unknown[], by = signer): Promise<Answer> {
    published = { keys };
    const client = await server.admin.createClient({
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks_uri: `https://${documents.host}/keys/${++documentCount}`,
    });
    await server.admin.allow(client.clientId, API, ['read']);
    return postForm(`${server.issuer}/oauth2/token`, undefined, {
      grant_type: 'client_credentials',
      ...(await assertion(server.issuer, client.clientId, by)),
    });
  }

  test('those that are too large are ignored (RFC 7517 §5), and so are members that nobody knows', async () => {
    const large = await rsaSigner(4_608);
    const { status, body } = await authenticate([large.publicJwk, signer.publicJwk], large);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
    const usual = await rsaSigner(2_048);
    const own = { ...usual.publicJwk, filler: 'x'.repeat(1_000) };
    expect((await authenticate([large.publicJwk, own], usual)).status).toBe(200);
  });

  test('a document with more than fifty keys is refused, and the log says why', async () => {
    expect((await authenticate([signer.publicJwk, ...ecKeys(49)])).status).toBe(200);
    expect((await authenticate([signer.publicJwk, ...ecKeys(50)])).status).toBeGreaterThanOrEqual(400);
    expect(server.logLines.some((line) => line.includes('more than 50 keys'))).toBe(true);
  });
});

test('a DPoP proof with a key that is too expensive is refused before it is verified', async () => {
  const large = rsaKey(16_384) as JWK;
  const proof = await dpopProof(signer, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  const [, payload, signature] = proof.split('.');
  const header = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'PS256', jwk: large })).toString('base64url');
  const form = { grant_type: 'refresh_token', refresh_token: 'lyr_x' };
  const { status, body } = await postForm(`${server.issuer}/oauth2/token`, idle, form, {
    dpop: [header, payload, signature].join('.'),
  });
  expect([status, body.error]).toEqual([400, 'invalid_dpop_proof']);
  expect(body.error_description).toContain('4096 bits');
  // One with a usual key goes on to the token.
  const rsa = await newSigner('PS256');
  const usual = await dpopProof(rsa, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
  const answer = await postForm(`${server.issuer}/oauth2/token`, idle, form, { dpop: usual });
  expect(answer.body.error).toBe('invalid_grant');
});
