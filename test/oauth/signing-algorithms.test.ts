// What this server signs its answers to a client with: RS256 where the client names nothing (OpenID Connect Registration §2, JARM
// §3, RFC 9701 §6), in every way to register; ES256 in a security profile, and for clients from before that was so.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeProtectedHeader } from 'jose';
import { authorizationCodeGrant } from 'openid-client';
import { postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ALICE, authorizationUrl, CODE_FLOW, honest, obtainCode, obtainTokens, PUBLIC } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const API = 'https://api.example';
const MEMBERS = [
  'id_token_signed_response_alg',
  'authorization_signed_response_alg',
  'introspection_signed_response_alg',
] as const;
const all = (alg: string) => Object.fromEntries(MEMBERS.map((member) => [member, alg]));

let server: TestServer;
let documents: DocumentHost;
let document: Record<string, unknown> = {};

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    const client_id = `https://${documents.host}${request.url}`;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ client_id, ...document }));
  });
  const { host } = documents;
  server = await startTestServer({
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
  });
  await server.admin.createApi(API, { scopes: ['read'], self_registered_clients: { scopes: ['read'] } });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});
beforeEach(() => server.sql.query('DELETE FROM login_throttle'));

type Members = Record<string, unknown>;

async function byOperator(members: Members): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...members });
  await server.admin.allow(client.clientId, API, ['read']);
  return client;
}

async function register(members: Members, token?: string): Promise<TestClient> {
  const { status, body } = await toAnswer(
    await fetch(`${server.issuer}/oauth2/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify({ ...CODE_FLOW, client_name: 'An app', ...members }),
    }),
  );
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { clientId: body.client_id as string, clientSecret: (body.client_secret as string | undefined) ?? '' };
}

async function byInitialToken(members: Members): Promise<TestClient> {
  const { body } = await server.admin.request('POST', '/initial-access-tokens', {});
  return register(members, body.token as string);
}

let count = 0;
async function byDocument(members: Members): Promise<TestClient> {
  document = { ...CODE_FLOW, ...PUBLIC, client_name: 'An app', ...members };
  return { clientId: `https://${documents.host}/${++count}.json`, clientSecret: '' };
}

const WAYS: [string, (members: Members) => Promise<TestClient>][] = [
  ['by an operator', byOperator],
  ['with an initial access token', byInitialToken],
  ['by anyone', (members) => register(members)],
  ['by a metadata document', byDocument],
];

async function registeredAlgorithms({ clientId }: TestClient): Promise<unknown> {
  const { body } = await server.admin.request('GET', `/clients/${encodeURIComponent(clientId)}`);
  return Object.fromEntries(MEMBERS.map((member) => [member, body[member]]));
}

/** The algorithms of ID token, access token, authorization response and introspection response. */
async function usedAlgorithms(client: TestClient) {
  const { challenge: code_challenge } = pkcePair();
  const jarm = { client_id: client.clientId, code_challenge, code_challenge_method: 'S256', response_mode: 'jwt' };
  const back = await signInAndAllow(createUserAgent(server.issuer), authorizationUrl(server.issuer, jarm), ALICE);
  const { accessToken, idToken } = await obtainTokens(server, client, { scope: 'openid read', resource: API });
  const signed = { accept: 'application/token-introspection+jwt' };
  const introspected =
    client.clientSecret === ''
      ? undefined
      : await postForm(`${server.issuer}/oauth2/introspect`, client, { token: accessToken }, signed);
  const alg = (jwt: unknown) => decodeProtectedHeader(String(jwt)).alg;
  return {
    idToken: alg(idToken),
    accessToken: alg(accessToken),
    response: alg(back.searchParams.get('response')),
    introspection: introspected && alg(introspected.body.text),
  };
}

describe.each(WAYS)('a client that is registered %s', (_way, make) => {
  test('and names no algorithm is signed for with RS256; its access tokens stay ES256', async () => {
    const client = await make({});
    const used = await usedAlgorithms(client);
    const introspection = client.clientSecret === '' ? undefined : 'RS256';
    expect(used).toEqual({ idToken: 'RS256', accessToken: 'ES256', response: 'RS256', introspection });
    expect(await registeredAlgorithms(client)).toEqual(all('RS256'));
  });

  test('gets ES256 by choice', async () => {
    const client = await make(all('ES256'));
    const introspection = client.clientSecret === '' ? undefined : 'ES256';
    const es256 = { idToken: 'ES256', accessToken: 'ES256', response: 'ES256', introspection };
    expect(await usedAlgorithms(client)).toEqual(es256);
    expect(await registeredAlgorithms(client)).toEqual(all('ES256'));
  });
});

test('openid-client, which is told nothing about algorithms, signs in', async () => {
  const client = await byOperator({});
  const { back, verifier } = await obtainCode(server, client, { scope: 'openid' });
  const tokens = await authorizationCodeGrant(await honest(server, client), back, {
    pkceCodeVerifier: verifier,
    expectedState: 'a state',
  });
  expect(tokens.claims()?.aud).toBe(client.clientId);
});

test.each(['fapi2', 'fapi2-message-signing'])(
  'the default of the profile %s is ES256, by every way to register (FAPI 2.0 Security Profile §5.4.1)',
  async (security_profile) => {
    const jwks = { keys: [(await newSigner()).publicJwk] };
    for (const [, make] of WAYS.slice(0, 3)) {
      const client = await make({ security_profile, jwks });
      expect(await registeredAlgorithms(client)).toEqual(all('ES256'));
    }
  },
);

test.each([...MEMBERS, 'userinfo_signed_response_alg'])(
  '%s cannot be HS256 or none, nor an algorithm without a key: there is nothing that could sign so',
  async (member) => {
    for (const alg of ['HS256', 'none', 'ES512', 'PS256']) {
      const { status, body } = await server.admin.request('POST', '/clients', { ...CODE_FLOW, [member]: alg });
      expect([status, body.errors]).toEqual([400, [expect.objectContaining({ pointer: `/${member}` })]]);
      await expect(register({ [member]: alg })).rejects.toThrow(member);
    }
  },
);

test('userinfo stays plain where the client names no algorithm', async () => {
  const client = await byOperator({});
  const { accessToken } = await obtainTokens(server, client);
  const answer = await fetch(`${server.issuer}/oauth2/userinfo`, {
    headers: { authorization: `Bearer ${accessToken}` },
  });
  expect(answer.headers.get('content-type')).toContain('application/json');
  const { body } = await server.admin.request('GET', `/clients/${client.clientId}`);
  expect(body).not.toHaveProperty('userinfo_signed_response_alg');
});

test('discovery names RS256 and ES256, and neither HS256 nor none', async () => {
  const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
  const metadata = (await response.json()) as Record<string, string[]>;
  for (const what of ['id_token', 'userinfo', 'authorization', 'introspection']) {
    expect(metadata[`${what}_signing_alg_values_supported`]?.sort()).toEqual(['ES256', 'RS256']);
  }
});

describe('clients from before RS256 was the default', () => {
  /** As the version before stored it: with the algorithm of ID tokens only, and for documents with all. */
  async function asBefore(client: TestClient): Promise<void> {
    const { rows } = await server.sql.query(
      `UPDATE clients SET metadata = metadata - 'authorization_signed_response_alg' - 'introspection_signed_response_alg'
         || '{"id_token_signed_response_alg": "ES256"}' WHERE client_id = $1 RETURNING metadata`,
      [client.clientId],
    );
    expect(rows).toHaveLength(1);
  }

  test('keep ES256, after a change of other members too', async () => {
    const client = await byOperator({});
    await asBefore(client);
    const es256 = { idToken: 'ES256', accessToken: 'ES256', response: 'ES256', introspection: 'ES256' };
    expect(await usedAlgorithms(client)).toEqual(es256);
    await server.admin.request('PATCH', `/clients/${client.clientId}`, { client_name: 'Another name' });
    expect(await registeredAlgorithms(client)).toEqual(all('ES256'));
    // RFC 7396: null removes what was chosen.
    const removed = Object.fromEntries(MEMBERS.map((member) => [member, null]));
    await server.admin.request('PATCH', `/clients/${client.clientId}`, removed);
    expect(await registeredAlgorithms(client)).toEqual(all('RS256'));
  });

  test('keep ES256 when they repeat what is registered (RFC 7592 §2.2)', async () => {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' } };
    const body = JSON.stringify({ ...CODE_FLOW, client_name: 'An app' });
    const { body: created } = await toAnswer(await fetch(`${server.issuer}/oauth2/register`, { ...init, body }));
    const client = { clientId: created.client_id as string, clientSecret: created.client_secret as string };
    await asBefore(client);
    const manage = async (method: string, document?: unknown) => {
      const authorization = `Bearer ${created.registration_access_token}`;
      const headers = { authorization, 'content-type': 'application/json' };
      const uri = created.registration_client_uri as string;
      return toAnswer(await fetch(uri, { method, headers, ...(document ? { body: JSON.stringify(document) } : {}) }));
    };
    const { body: read } = await manage('GET');
    const ofServer = ['registration_access_token', 'registration_client_uri', 'client_id_issued_at'];
    const members = Object.fromEntries(Object.entries(read).filter(([name]) => !ofServer.includes(name)));
    expect(members).toMatchObject(all('ES256'));
    expect((await manage('PUT', { ...members, client_name: 'Another name' })).body).toMatchObject(all('ES256'));
    const { id_token_signed_response_alg: _, ...others } = members;
    expect((await manage('PUT', others)).body.id_token_signed_response_alg).toBe('RS256');
  });

  test('with a metadata document keep ES256 until the document names another', async () => {
    const client = await byDocument({});
    await obtainTokens(server, client);
    await asBefore(client);
    await forgetDocuments();
    const { idToken, response } = await usedAlgorithms(client);
    expect([idToken, response]).toEqual(['ES256', 'ES256']);
    document = { ...document, id_token_signed_response_alg: 'RS256' };
    await forgetDocuments();
    expect(decodeProtectedHeader((await obtainTokens(server, client)).idToken).alg).toBe('RS256');
    expect(await registeredAlgorithms(client)).toEqual({ ...all('ES256'), id_token_signed_response_alg: 'RS256' });
  });
});

/** A new engine has no cached document. */
async function forgetDocuments(): Promise<void> {
  const { status } = await server.admin.request('POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 0 });
  expect(status).toBeLessThan(300);
}
