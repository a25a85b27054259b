// What no honest operator sends to the admin API. What is stored once is part of every list
// afterwards: a row that cannot be written as an answer would take `GET /admin/v1/clients` away
// from the operators.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { ODD_VALUES, type OddValue, somePairs, withMember } from '../support/odd-json.ts';
import { expectNoFaults, type OddRequest, oddRequest } from '../support/odd-requests.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner } from '../support/signing.ts';

const API = 'https://api.example';
const PASSWORD = 'a long enough password';

let server: TestServer;
let app: TestClient;
/** of requests that change something */
let changed: TestClient;
let userId: string;

beforeAll(async () => {
  server = await startTestServer();
  userId = await server.admin.createUser('mallory', PASSWORD);
  app = await server.admin.createClient();
  changed = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'] });
  for (const { clientId } of [app, changed]) await server.admin.allow(clientId, API, ['read']);
});
afterEach(async () => {
  const lists = ['/clients', '/users', '/resource-servers', '/initial-access-tokens', '/audit-events', '/keys'];
  for (const path of lists) await expectListed(path);
});
afterAll(() => server.stop());

/** Everything that was stored can be read, page by page. */
async function expectListed(path: string): Promise<void> {
  let query = '?limit=100';
  for (let isLast = false; !isLast; ) {
    const { status, body } = await server.admin.request('GET', path + (path === '/keys' ? '' : query));
    expect([path, status]).toEqual([path, 200]);
    query = `?limit=100&cursor=${body.next_cursor}`;
    isLast = body.next_cursor === null;
  }
}

const expectDecency = (requests: readonly OddRequest[]) => expectNoFaults(server, app, requests);

async function send(
  method: string,
  path: string,
  body?: string | Buffer<ArrayBuffer>,
  headers: Record<string, string> = {},
) {
  const authorization = `Bearer ${await server.admin.token()}`;
  const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  return fetch(`${server.issuer}/admin/v1${path}`, {
    method,
    redirect: 'manual',
    headers: { authorization, ...type, ...headers },
    ...(body === undefined ? {} : { body }),
  });
}

interface Endpoint {
  readonly operation: string;
  /** a body that is right */
  readonly body: () => Record<string, unknown>;
  readonly members: readonly string[];
}

let count = 0;

function endpoints(): readonly Endpoint[] {
  const api = `/resource-servers/${encodeURIComponent(API)}`;
  const none = () => ({});
  return [
    {
      operation: 'POST /clients',
      body: () => ({ ...CODE_FLOW }),
      members: [
        ...['client_id', 'client_name', 'application_type', 'redirect_uris', 'grant_types', 'response_types', 'jwks'],
        ...['token_endpoint_auth_method', 'jwks_uri', 'scope', 'id_token_signed_response_alg', 'default_max_age'],
        ...['require_auth_time', 'contacts', 'client_uri', 'subject_type', 'sector_identifier_uri', 'response_modes'],
        ...['authorization_details_types', 'security_profile', 'refresh_token_grace_seconds', 'backchannel_logout_uri'],
        ...['tls_client_auth_subject_dn', 'unheard_of', '__proto__', 'toString'],
      ],
    },
    {
      operation: `PATCH /clients/${changed.clientId}`,
      body: none,
      members: ['client_name', 'redirect_uris', 'jwks', 'default_max_age', 'contacts', '__proto__'],
    },
    {
      operation: `POST /clients/${changed.clientId}/secrets`,
      body: () => ({ overlap_seconds: 60 }),
      members: ['overlap_seconds', 'secret'],
    },
    {
      operation: 'POST /resource-servers',
      body: () => ({ identifier: `https://api-${++count}.example`, scopes: ['read'] }),
      members: [
        ...['identifier', 'name', 'scopes', 'access_token_format', 'access_token_ttl_seconds', 'delegation'],
        ...['introspection_client_id', 'authorization_details_types', 'self_registered_clients'],
      ],
    },
    { operation: `PATCH ${api}`, body: none, members: ['name', 'delegation', 'authorization_details_types'] },
    {
      operation: `PUT ${api}/clients/${changed.clientId}`,
      body: () => ({ scopes: ['read'] }),
      members: ['scopes', 'token_exchange', 'may_act'],
    },
    {
      operation: 'POST /users',
      body: () => ({ username: `user ${++count}`, password: PASSWORD }),
      members: ['username', 'password', 'email', 'claims'],
    },
    { operation: `PATCH /users/${userId}`, body: none, members: ['username', 'email', 'claims', 'password'] },
    {
      operation: 'POST /initial-access-tokens',
      body: none,
      members: ['note', 'max_uses', 'expires_in_seconds', 'allowed'],
    },
    { operation: 'POST /keys', body: none, members: ['alg', 'published'] },
    { operation: 'POST /keys/rotate', body: none, members: ['alg', 'publish_ahead_seconds'] },
  ];
}

function posted({ operation }: Pick<Endpoint, 'operation'>, value: OddValue, member: string, json: string): OddRequest {
  const [method = '', path = ''] = operation.split(' ');
  return oddRequest(`${operation} ${member}`, value, member, () => send(method, path, json));
}

describe('bodies', () => {
  test('each member', async () => {
    const requests = endpoints().flatMap((endpoint) =>
      somePairs(endpoint.members).map(([member, value]) => {
        return posted(endpoint, value, member, withMember(endpoint.body(), member, value.json));
      }),
    );
    await expectDecency(requests);
  });

  test('the whole', async () => {
    const pairs = somePairs(endpoints(), 7);
    await expectDecency(pairs.map(([endpoint, value]) => posted(endpoint, value, '', value.json)));
  });

  test('members within members', async () => {
    const [clients, resourceServers, users] = ['clients', 'resource-servers', 'users'].map((name) =>
      endpoints().find(({ operation }) => operation === `POST /${name}`),
    ) as [Endpoint, Endpoint, Endpoint];
    const schema = (json: string) => `{"a":{"description":"a","schema":${json}}}`;
    const wrappings: [Endpoint, string, string][] = [
      ...['name', 'address', 'email_verified', 'phone_number', '__proto__'].map((name): [Endpoint, string, string] => {
        return [users, 'claims', `{"${name}":$}`];
      }),
      [users, 'claims', '{"address":{"country":$}}'],
      [resourceServers, 'authorization_details_types', schema('$')],
      [resourceServers, 'authorization_details_types', schema('{"properties":{"a":$}}')],
      [resourceServers, 'authorization_details_types', schema('{"properties":{"a":{"enum":[$]}}}')],
      [resourceServers, 'authorization_details_types', schema('{"properties":{"a":{"default":$}}}')],
      [resourceServers, 'scopes', '["read",$]'],
      [clients, 'redirect_uris', `["${REDIRECT_URI}",$]`],
      [clients, 'contacts', '[$]'],
    ];
    const requests = somePairs(wrappings, 15).map(([[endpoint, member, wrapping], value]) => {
      const json = wrapping.replace('$', () => value.json);
      return posted(endpoint, value, member, withMember(endpoint.body(), member, json));
    });
    await expectDecency(requests);
  });

  test('keys of clients', async () => {
    const names = ['kty', 'crv', 'x', 'y', 'n', 'e', 'd', 'kid', 'alg', 'use', 'key_ops', 'x5c', 'x5t', '__proto__'];
    const client = { ...CODE_FLOW, token_endpoint_auth_method: 'private_key_jwt' };
    const endpoint = { operation: 'POST /clients' };
    for (const { publicJwk } of [await newSigner(), await newSigner('RS256')]) {
      const requests = somePairs(names).map(([name, value]) => {
        const jwks = `{"keys":[${withMember({ ...publicJwk }, name, value.json)}]}`;
        return posted(endpoint, value, 'jwks', withMember(client, 'jwks', jwks));
      });
      for (const value of ODD_VALUES) {
        const jwks = withMember({ keys: [publicJwk] }, 'more', value.json);
        requests.push(posted(endpoint, value, 'jwks', withMember(client, 'jwks', jwks)));
      }
      await expectDecency(requests);
    }
  });

  test('bytes that are not JSON', async () => {
    const odd = [[0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0x22, 0x00, 0x22], [0xef, 0xbb, 0xbf, 0x7b, 0x7d], []];
    const requests = endpoints().flatMap(({ operation }) =>
      odd.map((bytes): OddRequest => {
        const [method = '', path = ''] = operation.split(' ');
        return { label: `${operation} [${bytes}]`, send: () => send(method, path, Buffer.from(bytes)) };
      }),
    );
    await expectDecency(requests);
  });

  test('text that is unusual but right is stored as it is', async () => {
    for (const name of ['😀 👩‍👩‍👧', 'שלום', 'e\u0301\u0323 Zalgơ̴̗', '\\u0000', '\ufffd', '𠮷野家']) {
      const client = await server.admin.createClient({ ...CODE_FLOW, client_name: name });
      const { body } = await server.admin.request('GET', `/clients/${client.clientId}`);
      expect(body.client_name).toBe(name);
      const username = `user ${++count}`;
      const id = await server.admin.createUser(username, PASSWORD, { claims: { nickname: name } });
      const user = await server.admin.request('GET', `/users/${id}`);
      expect(user.body).toMatchObject({ username, claims: { nickname: name } });
    }
  });
});

/**
 * Of a path or a query string. (`fetch` resolves `..`; for that see test/server/request-targets.)
 */
const ODD_TEXTS = [
  ...['%00', '%ff', '%C0%80', '%ED%A0%80', '%', '%zz', '%F4%90%80%80', '%0a', '%7f', '%E2%80%AE', '%F0%9F%98%80'],
  ...['%2f', '%5c', "'", '"', '*', '[::bad', 'x'.repeat(3_000), '__proto__', 'toString'],
];
const NOT_TEXT = ['%00', '%ff', '%C0%80', '%ED%A0%80', '%F4%90%80%80'];

test('path segments', async () => {
  const api = `/resource-servers/${encodeURIComponent(API)}`;
  const operations: [string, string, string?][] = [
    ...['/clients/$', '/clients/$/secrets', '/users/$', '/users/$/sessions', '/resource-servers/$'].map(
      (path): [string, string] => ['GET', path],
    ),
    ...['/clients/$', '/resource-servers/$', `${api}/clients/$`, '/initial-access-tokens/$', '/keys/$'].map(
      (path): [string, string] => ['DELETE', path],
    ),
    ['DELETE', `/clients/${changed.clientId}/secrets/$`],
    ['DELETE', `/users/${userId}/sessions/$`],
    ['PATCH', '/clients/$', '{}'],
    ['PATCH', '/users/$', '{}'],
    ['POST', '/clients/$/disable'],
    ['POST', '/clients/$/revoke-tokens'],
    ['POST', '/keys/$/publish'],
    ['PUT', '/resource-servers/$/clients/$', '{"scopes":["read"]}'],
    ['GET', '/$'],
  ];
  const requests = operations.flatMap(([method, path, body]) =>
    ODD_TEXTS.map((odd): OddRequest => {
      const filled = path.replaceAll('$', () => odd);
      return { label: `${method} ${filled.slice(0, 80)}`, send: () => send(method, filled, body) };
    }),
  );
  await expectDecency(requests);
});

test('query strings', async () => {
  const toCursor = (text: string | Buffer) => Buffer.from(text as string).toString('base64url');
  const cursors = ['\0', '\u202e', '9'.repeat(18), '-1', '{}', '😀', Buffer.from([0xed, 0xa0, 0x80])].map(toCursor);
  const instants = ['0000-01-01T00:00:00Z', '9999-12-31T23:59:59Z', '2025-02-30T00:00:00Z', '275761-01-01T00:00:00Z'];
  const parameters: [string, string, readonly string[]][] = [
    ['/clients', 'q', []],
    ['/clients', 'limit', ['0', '1e2']],
    ['/clients', 'cursor', cursors],
    ['/users', 'q', []],
    ['/users', 'cursor', cursors],
    ['/idle-clients', 'days', ['-1', '9999']],
    ['/resource-servers', 'cursor', cursors],
    [`/users/${userId}/sessions`, 'cursor', cursors],
    ['/audit-events', 'cursor', cursors],
    ['/audit-events', 'actor', []],
    ['/audit-events', 'type', []],
    ['/audit-events', 'since', instants],
    ['/audit-events', 'until', instants],
    ['/clients', 'unheard_of', []],
  ];
  const requests = parameters.flatMap(([path, name, more]) =>
    [...ODD_TEXTS, '', `x&${name}=y`, ...more].map((odd): OddRequest => {
      const query = `${name}=${odd}`;
      const refusedNaming = NOT_TEXT.includes(odd) ? `?${name}` : undefined;
      return { label: `${path}?${query.slice(0, 80)}`, send: () => send('GET', `${path}?${query}`), refusedNaming };
    }),
  );
  await expectDecency(requests);
});

test('headers', async () => {
  const values = ['"', '"0"', '"99999999999"', 'W/"1"', '"é"', 'x'.repeat(8_000), '\u00ff', '{"toString":1}'];
  const names = ['if-match', 'content-type', 'accept', 'content-encoding', 'origin', 'cookie', 'dpop', 'authorization'];
  const requests = names.flatMap((name) =>
    values.map((value): OddRequest => {
      const path = `/clients/${changed.clientId}`;
      return { label: `${name}: ${value.slice(0, 50)}`, send: () => send('PATCH', path, '{}', { [name]: value }) };
    }),
  );
  await expectDecency(requests);
});
