// The OpenAPI document is generated from the schemas that parse the requests; here real answers are
// held against it.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { Answer } from '../support/admin.ts';
import { CODE_FLOW, obtainTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

interface Operation {
  operationId: string;
  parameters?: { name: string; schema: object }[];
  requestBody?: { content: { 'application/json': { schema: object } } };
  responses: Record<string, { content?: Record<string, { schema: object }>; $ref?: string }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; responses: Record<string, unknown> };
}

let server: TestServer;
let document: Document;
let ajv: Ajv2020;
const seen = new Set<string>();

beforeAll(async () => {
  server = await startTestServer();
  document = (await (await fetch(`${server.issuer}/admin/v1/openapi.json`)).json()) as Document;
  ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
});
afterAll(() => server.stop());

/** The schema by itself, with the components it refers to as its definitions. */
function validatorOf(schema: object) {
  const whole = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return ajv.compile(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/')));
}

/** Calls an operation and holds request and answer against what the document says about them. */
async function call(method: string, template: string, params: Record<string, string>, body?: unknown): Promise<Answer> {
  const operation = document.paths[template]?.[method];
  if (operation === undefined) throw new Error(`${method} ${template} is not documented`);
  seen.add(operation.operationId);
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  if (body !== undefined) {
    const validate = validatorOf(operation.requestBody?.content['application/json'].schema ?? {});
    expect({ valid: validate(body), errors: validate.errors }).toEqual({ valid: true, errors: null });
  }
  const answer = await server.admin.request(method.toUpperCase(), path, body);
  const documented = operation.responses[answer.status];
  if (documented === undefined)
    throw new Error(`${method} ${template}: ${answer.status} ${JSON.stringify(answer.body)}`);
  if (documented.content !== undefined) {
    const validate = validatorOf(documented.content['application/json']?.schema ?? {});
    expect({ valid: validate(answer.body), errors: validate.errors }).toEqual({ valid: true, errors: null });
  }
  return answer;
}

test('the answer of every operation matches the document', async () => {
  expect(document.openapi).toBe('3.1.0');
  const created = await call(
    'post',
    '/clients',
    {},
    {
      client_id: 'app',
      client_name: 'App',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['https://app.example/cb'],
      contacts: ['ops@app.example'],
      require_pkce: false,
    },
  );
  expect(created.body.client_secret).toMatch(/^lys_[\w-]{43}$/);
  const client = { client_id: 'app' };
  await call('get', '/clients', {});
  await call('get', '/clients/{client_id}', client);
  await call('patch', '/clients/{client_id}', client, { client_name: null, contacts: ['other@app.example'] });
  await call('post', '/clients/{client_id}/disable', client);
  await call('post', '/clients/{client_id}/enable', client);
  await call('post', '/clients/{client_id}/revoke-tokens', client);
  const secret = await call('post', '/clients/{client_id}/secrets', client, { overlap_seconds: 60 });
  await call('post', '/clients/{client_id}/secrets', client, { secret: 'chosen by a person' });
  await call('get', '/clients/{client_id}/secrets', client);
  await call('delete', '/clients/{client_id}/secrets/{secret_id}', { ...client, secret_id: secret.body.id as string });

  const api = { identifier: 'https://api.example/v1' };
  await call('post', '/resource-servers', {}, { ...api, scopes: ['read', 'write'], introspection_client_id: 'app' });
  await call('get', '/resource-servers', {});
  await call('get', '/resource-servers/{identifier}', api);
  await call('patch', '/resource-servers/{identifier}', api, { access_token_ttl_seconds: 60, name: 'API' });
  await call('put', '/resource-servers/{identifier}/clients/{client_id}', { ...api, ...client }, { scopes: ['read'] });
  await call('put', '/resource-servers/{identifier}/clients/{client_id}', { ...api, ...client }, { scopes: [] });
  await call('get', '/resource-servers/{identifier}/clients', api);
  await call('get', '/resource-servers/{identifier}/clients/{client_id}', { ...api, ...client });
  await call('delete', '/resource-servers/{identifier}/clients/{client_id}', { ...api, ...client });
  await call('delete', '/resource-servers/{identifier}', api);

  const user = await call(
    'post',
    '/users',
    {},
    {
      username: 'alice',
      password: 'a good long password',
      email: 'alice@example.com',
      claims: { name: 'Alice', address: { country: 'NO' }, birthdate: '1990-01-31' },
    },
  );
  const userParams = { user_id: user.body.id as string };
  await call('get', '/users', {});
  await call('get', '/users/{user_id}', userParams);
  await call('patch', '/users/{user_id}', userParams, { email: null, password: 'another long password' });
  await call('post', '/users/{user_id}/disable', userParams);
  await call('post', '/users/{user_id}/enable', userParams);
  const login = await server.admin.createClient(CODE_FLOW);
  await obtainTokens(server, login, {}, { user: { username: 'alice', password: 'another long password' } });
  const sessions = await call('get', '/users/{user_id}/sessions', userParams);
  const [session] = sessions.body.items as { id: string }[];
  const sessionParams = { ...userParams, session_id: session?.id as string };
  expect((await call('delete', '/users/{user_id}/sessions/{session_id}', sessionParams)).status).toBe(204);
  await call('post', '/users/{user_id}/revoke-tokens', userParams);
  const initial = await call(
    'post',
    '/initial-access-tokens',
    {},
    { note: 'n', allowed: { redirect_hosts: ['a.example'] } },
  );
  await call('get', '/initial-access-tokens', {});
  await call('delete', '/initial-access-tokens/{id}', { id: initial.body.id as string });
  await call('get', '/idle-clients', {});
  const added = await call('post', '/keys', {}, { alg: 'PS256', published: false });
  await call('post', '/keys/{kid}/publish', { kid: added.body.kid as string });
  await call('post', '/keys/rotate', {}, { alg: 'PS256', publish_ahead_seconds: 60 });
  await call('get', '/keys', {});
  await call('delete', '/keys/{kid}', { kid: added.body.kid as string });
  await call('get', '/audit-events', {});
  await call('delete', '/clients/{client_id}', client);

  const documented = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map((operation) => operation.operationId),
  );
  expect([...seen].sort()).toEqual(documented.sort());
});

test('a problem has the documented shape', async () => {
  const validate = validatorOf(document.components.schemas.Problem ?? {});
  for (const [method, path, body] of [
    ['POST', '/clients', { foo: 1 }],
    ['GET', '/clients/unknown', undefined],
    ['PUT', '/clients', {}],
    ['GET', '/nothing/here', undefined],
  ] as const) {
    const answer = await server.admin.request(method, path, body);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.headers.get('x-request-id')).toBe(answer.body.request_id);
    expect({ valid: validate(answer.body), errors: validate.errors }).toEqual({ valid: true, errors: null });
  }
});

test.each([
  ['PATCH', '/clients', ['GET', 'HEAD', 'POST']],
  ['PUT', '/clients/unknown', ['DELETE', 'GET', 'HEAD', 'PATCH']],
  ['GET', '/clients/unknown/disable', ['POST']],
  ['PURGE', '/keys', ['GET', 'HEAD', 'POST']],
])('%s %s gets 405 with the allowed methods (RFC 9110 §15.5.6)', async (method, path, allowed) => {
  const response = await fetch(`${server.issuer}/admin/v1${path}`, { method });
  expect([response.status, response.headers.get('allow')?.split(', ').sort()]).toEqual([405, allowed]);
  expect(await response.json()).toMatchObject({ status: 405, code: 'method_not_allowed' });
});

test.each(['GET', 'PUT', 'PURGE'])('%s at an unknown path gets 404', async (method) => {
  const response = await fetch(`${server.issuer}/admin/v1/nothing`, { method });
  expect([response.status, response.headers.get('allow')]).toEqual([404, null]);
});

test('a page size is accepted exactly if the document allows it', async () => {
  const limitParameter = document.paths['/clients']?.get?.parameters?.find(({ name }) => name === 'limit');
  const check = ajv.compile(limitParameter?.schema as object);
  for (const limit of ['0', '00', '1', '01', '9', '10', '99', '100', '101', '1e1', '-1', ' 1']) {
    const { status } = await server.admin.request('GET', `/clients?limit=${encodeURIComponent(limit)}`);
    expect([limit, status]).toEqual([limit, check(limit) ? 200 : 400]);
  }
});
