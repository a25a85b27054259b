// What software says of itself: registrations (RFC 7591, RFC 7592), and the documents that are
// fetched for a client (`jwks_uri`, `sector_identifier_uri`, client ID metadata documents). Anybody
// may send or publish them where registration is open.

import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { authorizationUrl, CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { ODD_VALUES, type OddValue, REFUSED, somePairs, withMember } from '../support/odd-json.ts';
import { expectNoFaults, type OddRequest, oddRequest } from '../support/odd-requests.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';
const APP = { redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none', client_name: 'An app' };
const MEMBERS = [
  ...[
    'client_name',
    'redirect_uris',
    'grant_types',
    'response_types',
    'token_endpoint_auth_method',
    'jwks',
    'jwks_uri',
  ],
  ...[
    'scope',
    'contacts',
    'client_uri',
    'logo_uri',
    'policy_uri',
    'application_type',
    'subject_type',
    'default_max_age',
  ],
  ...['backchannel_logout_uri', 'software_statement', 'client_secret', 'client_id', 'unheard_of', '__proto__'],
];

let server: TestServer;
let app: TestClient;
let documents: DocumentHost;
let signer: Signer;
let initialToken: string;
/** by path: content type and body */
const published = new Map<string, [type: string, body: string]>();

beforeAll(async () => {
  const publish: RequestListener = (request, response) => {
    const [type, body] = published.get(request.url ?? '') ?? ['text/plain', ''];
    response.writeHead(200, { 'content-type': type }).end(body);
  };
  documents = await startDocumentHost(publish);
  const { host } = documents;
  server = await startTestServer({
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_TRUST_PROXY: '127.0.0.1,::1',
    LANYARD_CLIENT_CERTIFICATE_HEADER: 'x-client-certificate',
  });
  signer = await newSigner();
  app = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.allow(app.clientId, API, ['read']);
  const { body } = await server.admin.request('POST', '/initial-access-tokens', { max_uses: 10_000 });
  initialToken = String(body.token);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

const expectDecency = (requests: readonly OddRequest[]) => expectNoFaults(server, app, requests);

function register(method: string, path: string, token: string, body: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  return fetch(`${server.issuer}/oauth2/register${path}`, { method, headers, body });
}

/** What was registered is shown to its operators at once, alone and in the list. */
async function registerAndList(body: string): Promise<{ status: number; text(): Promise<string> }> {
  const response = await register('POST', '', initialToken, body);
  const text = await response.text();
  if (response.status === 201) {
    const { client_id: clientId } = JSON.parse(text);
    for (const path of [`/clients/${clientId}`, `/clients?q=${clientId}`]) {
      const shown = await server.admin.request('GET', path);
      expect([shown.status, JSON.stringify(shown.body)]).toEqual([200, expect.stringContaining(clientId)]);
    }
  }
  return { status: response.status, text: async () => text };
}

/** Where a JSON Web Key Set has members. */
async function oddKeySets(): Promise<[name: string, value: OddValue, jwks: string][]> {
  const { publicJwk } = signer;
  const names = ['kty', 'crv', 'x', 'y', 'kid', 'alg', 'use', 'key_ops', 'x5c', 'x5t', '__proto__'];
  return [
    ...somePairs(names).map(([name, value]): [string, OddValue, string] => {
      return [name, value, `{"keys":[${withMember({ ...publicJwk }, name, value.json)}]}`];
    }),
    ...ODD_VALUES.map((value): [string, OddValue, string] => ['keys', value, `{"keys":${value.json}}`]),
    ...ODD_VALUES.map((value): [string, OddValue, string] => ['whole', value, value.json]),
  ];
}

test('each member of a registration', async () => {
  const requests = somePairs(MEMBERS, 11).map(([member, value]) => {
    return oddRequest(`register ${member}`, value, member, () => registerAndList(withMember(APP, member, value.json)));
  });
  for (const value of ODD_VALUES) requests.push(oddRequest('register', value, '', () => registerAndList(value.json)));
  await expectDecency(requests);
});

test.each(['private_key_jwt', 'self_signed_tls_client_auth'])('keys that are registered, for %s', async (method) => {
  const client = { ...APP, token_endpoint_auth_method: method };
  const requests = (await oddKeySets()).map(([name, value, jwks]) => {
    return oddRequest(`jwks ${name}`, value, 'jwks', () => registerAndList(withMember(client, 'jwks', jwks)));
  });
  await expectDecency(requests);
});

test('a key set so deep that JSON.stringify can just write it is not stored', async () => {
  const requests: OddRequest[] = [];
  for (let depth = 3_000; depth < 6_000; depth += 200) {
    const jwks = `{"keys":[],"more":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const send = () => registerAndList(withMember(APP, 'jwks', jwks));
    requests.push({ label: `${depth} deep`, send, refusedNaming: 'jwks' });
  }
  await expectDecency(requests);
});

test('each member of a registration that is replaced', async () => {
  const created = await (await register('POST', '', initialToken, JSON.stringify(APP))).json();
  const { client_id, registration_access_token: token } = created as Record<string, string>;
  const own = { ...APP, client_id };
  const requests = somePairs(MEMBERS, 5).map(([member, value]) => {
    const body = withMember(own, member, value.json);
    return oddRequest(`replace ${member}`, value, member, () => register('PUT', `/${client_id}`, token ?? '', body));
  });
  await expectDecency(requests);
});

test('a registration access token and an id that are none', async () => {
  const requests: OddRequest[] = [];
  for (const id of ['%00', '%ff', '%ED%A0%80', '%', '..%2f', '%F0%9F%98%80', '__proto__', 'x'.repeat(3_000)]) {
    for (const [method, body] of [['GET'], ['DELETE'], ['PUT', '{}']]) {
      for (const authorization of ['Bearer x', 'Bearer \u00ff', 'Bearer', 'x', `Bearer ${'x'.repeat(8_000)}`]) {
        const headers = { authorization, 'content-type': 'application/json' };
        const init = { method: method as string, headers, ...(body === undefined ? {} : { body }) };
        const send = () => fetch(`${server.issuer}/oauth2/register/${id}`, init);
        requests.push({ label: `${method} ${id.slice(0, 20)} ${authorization.slice(0, 20)}`, send });
      }
    }
  }
  await expectDecency(requests);
});

test('a jwks_uri', async () => {
  const client = { ...CODE_FLOW, grant_types: ['client_credentials'], response_types: [], redirect_uris: [] };
  const requests: OddRequest[] = [];
  for (const [index, [name, value, jwks]] of (await oddKeySets()).entries()) {
    const path = `/jwks/${index}`;
    published.set(path, ['application/json', jwks]);
    requests.push({
      label: `jwks_uri ${name} ${value.label}`,
      async send() {
        const jwks_uri = `https://${documents.host}${path}`;
        const metadata = { ...client, token_endpoint_auth_method: 'private_key_jwt', jwks_uri };
        const { clientId } = await server.admin.createClient(metadata);
        const authentication = await assertion(server.issuer, clientId, signer);
        const body = new URLSearchParams({ grant_type: 'client_credentials', ...authentication });
        const response = await fetch(`${server.issuer}/oauth2/token`, { method: 'POST', body });
        if (REFUSED.includes(value)) expect([path, response.status]).not.toEqual([path, 200]);
        return response;
      },
    });
  }
  await expectDecency(requests);
});

test('a sector_identifier_uri', async () => {
  const requests: OddRequest[] = [];
  for (const [index, value] of ODD_VALUES.entries()) {
    for (const json of [value.json, `["${REDIRECT_URI}",${value.json}]`]) {
      const path = `/sector/${index}/${json.length}`;
      published.set(path, ['application/json', json]);
      const sector_identifier_uri = `https://${documents.host}${path}`;
      const metadata = { ...CODE_FLOW, subject_type: 'pairwise', sector_identifier_uri };
      const send = async () => {
        const { status, body } = await server.admin.request('POST', '/clients', metadata);
        return { status, text: async () => JSON.stringify(body) };
      };
      requests.push(oddRequest(`sector ${json.slice(0, 40)}`, value, 'sector_identifier_uri', send));
    }
  }
  await expectDecency(requests);
});

test('a client ID metadata document', async () => {
  const requests: OddRequest[] = [];
  const add = (label: string, value: OddValue, body: (clientId: string) => string) => {
    const path = `/client/${requests.length}.json`;
    const clientId = `https://${documents.host}${path}`;
    published.set(path, ['application/json', body(clientId)]);
    const { challenge } = pkcePair();
    const params = { client_id: clientId, code_challenge: challenge, code_challenge_method: 'S256', scope: 'openid' };
    const send = async () => {
      // How often an address may cause a fetch is limited.
      await server.sql.query('DELETE FROM login_throttle');
      return fetch(authorizationUrl(server.issuer, params), { redirect: 'manual' });
    };
    requests.push(oddRequest(`document ${label}`, value, 'invalid_client', send));
  };
  for (const [member, value] of somePairs(MEMBERS, 5)) {
    // Of what is too long the engine has read 5 KB, and refuses it for that.
    add(member, value, (client_id) => withMember({ ...APP, client_id }, member, value.json));
  }
  for (const value of ODD_VALUES) add('whole', value, () => value.json);
  await expectDecency(requests);
  const { status } = await server.admin.request('GET', '/clients?limit=100');
  expect(status).toBe(200);
});
