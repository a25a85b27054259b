// Client authentication by secret (RFC 6749 §2.3), with guessed, repeated and mixed credentials.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { postForm, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import { CODE_FLOW, isActive, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let client: TestClient;
let tokenUrl: string;

beforeAll(async () => {
  server = await startTestServer();
  tokenUrl = `${server.issuer}/oauth2/token`;
  await server.admin.createApi(ORDERS, { scopes: ['read'] });
  client = await newClient();
});
afterAll(() => server.stop());

async function newClient(members: Record<string, unknown> = {}): Promise<TestClient> {
  const created = await server.admin.createClient({ grant_types: ['client_credentials'], ...members });
  await server.admin.allow(created.clientId, ORDERS, ['read']);
  return created;
}

function basic(clientId: string, secret: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` };
}

async function post(form: Record<string, string> | [string, string][], headers: Record<string, string> = {}) {
  const body = new URLSearchParams(form);
  if (!body.has('grant_type')) body.set('grant_type', 'client_credentials');
  return toAnswer(await fetch(tokenUrl, { method: 'POST', headers, body }));
}

describe('wrong credentials are refused', () => {
  test.each([
    ['a wrong secret', () => basic(client.clientId, 'lys_wrong')],
    ['an unknown client', () => basic('unknown', client.clientSecret)],
    ['the secret of another client', () => basic('lanyard-admin', client.clientSecret)],
    ['a secret of 100 KB', () => basic(client.clientId, 'x'.repeat(9_000))],
    ['the secret with a character after it', () => basic(client.clientId, `${client.clientSecret}x`)],
    ['the secret in another case', () => basic(client.clientId, client.clientSecret.toUpperCase())],
  ])('%s: 401 invalid_client with a challenge (RFC 6749 §5.2)', async (_name, headers) => {
    const { status, body, headers: answered } = await post({}, headers());
    expect([status, body.error]).toEqual([401, 'invalid_client']);
    expect(answered.get('www-authenticate')).toMatch(/^Basic realm=/);
  });

  test.each([
    ['token', { grant_type: 'client_credentials' }],
    ['introspect', { token: 'x' }],
    ['revoke', { token: 'x' }],
    ['par', { response_type: 'code' }],
    ['device_authorization', { scope: 'openid' }],
  ])('no credentials at /oauth2/%s: the same, with a challenge (RFC 9110 §15.5.2)', async (path, form) => {
    const request = { method: 'POST', body: new URLSearchParams(form as Record<string, string>) };
    const { status, body, headers } = await toAnswer(await fetch(`${server.issuer}/oauth2/${path}`, request));
    expect([status, body.error]).toEqual([401, 'invalid_client']);
    expect(headers.get('www-authenticate')).toBe(`Basic realm="${server.issuer}"`);
  });

  test.each(['token', 'introspect', 'revoke', 'par', 'device_authorization'])(
    'a form of 57 KB at /oauth2/%s: 413, before the secret is checked (RFC 9126 §2.3)',
    async (path) => {
      const body = new URLSearchParams({ token: 'x'.repeat(57 * 1024) });
      const answer = await toAnswer(await fetch(`${server.issuer}/oauth2/${path}`, { method: 'POST', body }));
      expect([answer.status, answer.body.error]).toEqual([413, 'invalid_request']);
    },
  );

  test('unknown client and wrong secret get the same response, so that client ids cannot be probed', async () => {
    const wrong = await post({}, basic(client.clientId, 'wrong'));
    const unknown = await post({}, basic('unknown', 'wrong'));
    expect(wrong.body).toEqual(unknown.body);
  });

  test('the hash in the database is refused as a secret', async () => {
    const { rows } = await server.sql.query('SELECT hash FROM client_secrets WHERE client_id = $1', [client.clientId]);
    expect(rows[0].hash).toMatch(/^sha256\$/);
    for (const secret of [rows[0].hash, rows[0].hash.slice('sha256$'.length)]) {
      expect((await post({}, basic(client.clientId, secret))).status).toBe(401);
    }
  });

  test('the id alone is not enough for a confidential client', async () => {
    expect((await post({ client_id: client.clientId })).status).toBe(401);
  });

  test('no client: 400 or 401, no token', async () => {
    const { status, body } = await post({});
    expect([400, 401]).toContain(status);
    expect(body).not.toHaveProperty('access_token');
  });
});

describe('one client, one method, each parameter once', () => {
  test('a secret in header and body: 400 (RFC 6749 §2.3)', async () => {
    const form = { client_id: client.clientId, client_secret: client.clientSecret };
    const { status, body } = await post(form, basic(client.clientId, client.clientSecret));
    expect([status, body.error]).toEqual([400, 'invalid_request']);
  });

  test('one client in the header and another in the body: 400', async () => {
    const { status, body } = await post({ client_id: 'lanyard-admin' }, basic(client.clientId, client.clientSecret));
    expect([status, body.error]).toEqual([400, 'invalid_request']);
  });

  test.each(['grant_type', 'scope', 'client_id'])('%s twice: 400 (RFC 6749 §3.2)', async (name) => {
    const value = { grant_type: 'client_credentials', scope: 'read', client_id: client.clientId }[name] as string;
    const doubled: [string, string][] = [
      [name, value],
      [name, value],
    ];
    const { status, body } = await post(doubled, basic(client.clientId, client.clientSecret));
    expect([status, body.error]).toEqual([400, 'invalid_request']);
  });

  test('client_secret twice, one right and one wrong: 400', async () => {
    const { status } = await post([
      ['client_id', client.clientId],
      ['client_secret', client.clientSecret],
      ['client_secret', 'wrong'],
    ]);
    expect(status).toBe(400);
  });

  test('credentials in the query string are ignored (RFC 6749 §2.3.1)', async () => {
    const query = new URLSearchParams({ client_id: client.clientId, client_secret: client.clientSecret });
    const body = new URLSearchParams({ grant_type: 'client_credentials' });
    const answer = await toAnswer(await fetch(`${tokenUrl}?${query}`, { method: 'POST', body }));
    expect([400, 401]).toContain(answer.status);
  });

  test('a malformed Authorization header: 400 or 401, never 5xx', async () => {
    for (const authorization of [
      'Basic',
      'Basic !!!',
      'Basic Og==',
      'Basic OjpA',
      'Bearer x',
      'Basic JTAw',
      'Digest a=b',
    ]) {
      const { status, body } = await post({}, { authorization });
      expect([400, 401]).toContain(status);
      expect(body.error).toMatch(/^invalid_(request|client)$/);
    }
  });
});

describe('client_credentials', () => {
  test('is refused for a public client, which anyone could impersonate (RFC 6749 §4.4)', async () => {
    const app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    await server.admin.allow(app.clientId, ORDERS, ['read']);
    const answer = await requestToken(server.issuer, app);
    expect([answer.status, answer.body.error]).toEqual([400, 'unauthorized_client']);
    const registration = await server.admin.request('POST', '/clients', {
      ...PUBLIC,
      grant_types: ['client_credentials'],
    });
    expect([registration.status, registration.body.code]).toEqual([400, 'validation_failed']);
  });

  test('is refused for a client that is not registered for the grant: 400', async () => {
    const app = await server.admin.createClient(CODE_FLOW);
    await server.admin.allow(app.clientId, ORDERS, ['read']);
    expect((await requestToken(server.issuer, app)).status).toBe(400);
  });

  test.each(['password', 'implicit', 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'unknown', 'constructor'])(
    'grant_type %s is unsupported',
    async (grant_type) => {
      const { status, body } = await requestToken(server.issuer, client, { grant_type });
      expect([status, body.error]).toEqual([400, 'unsupported_grant_type']);
    },
  );

  test('a disabled client: 401, and a token again after it was enabled', async () => {
    const app = await newClient();
    await server.admin.request('POST', `/clients/${app.clientId}/disable`);
    const refused = await requestToken(server.issuer, app);
    expect([refused.status, refused.body.error]).toEqual([401, 'invalid_client']);
    await server.admin.request('POST', `/clients/${app.clientId}/enable`);
    expect((await requestToken(server.issuer, app)).status).toBe(200);
  });

  test('a removed client: 401', async () => {
    const app = await newClient();
    await server.admin.request('DELETE', `/clients/${app.clientId}`);
    expect((await requestToken(server.issuer, app)).status).toBe(401);
  });

  test('a client id that needs encoding in the header is decoded (RFC 6749 §2.3.1)', async () => {
    const odd = await newClient({ client_id: 'https://app.example/a:b?c=d&e=%20+' });
    const answer = await postForm(tokenUrl, odd, { grant_type: 'client_credentials' });
    expect(answer.status).toBe(200);
    expect(await isActive(server, odd, answer.body.access_token as string)).toBe(true);
  });
});

describe('an Origin that the client has not registered', () => {
  const FOREIGN = { origin: 'https://other.example' };
  const corsOf = (headers: Headers) => [...headers.keys()].filter((name) => name.startsWith('access-control-'));

  // The second is answered by the engine, the first by the fast path.
  test.each(['*/*', 'text/html'])(
    'changes nothing for a client that authenticates, and no page may read the answer (Accept: %s)',
    async (accept) => {
      const app = await newClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
      const send = (path: string, form: Record<string, string>, headers = {}) =>
        postForm(`${server.issuer}/oauth2/${path}`, app, form, { accept, ...headers });
      const ask = { grant_type: 'client_credentials', resource: ORDERS };
      const token = String((await send('token', ask)).body.access_token);
      const requests: [string, Record<string, string>, number][] = [
        ['token', ask, 200],
        ['introspect', { token }, 200],
        ['token', { grant_type: 'refresh_token', refresh_token: 'x' }, 400],
        ['par', { client_id: app.clientId, response_type: 'code' }, 400],
        ['revoke', { token }, 200],
      ];
      for (const [path, form, expected] of requests) {
        const foreign = await send(path, form, FOREIGN);
        expect([path, foreign.status, corsOf(foreign.headers)]).toEqual([path, expected, []]);
        const usual = await send(path, form);
        expect(Object.keys(foreign.body)).toEqual(Object.keys(usual.body));
        expect(foreign.body.error_description).toBe(usual.body.error_description);
        const own = await send(path, form, { origin: new URL(REDIRECT_URI).origin });
        expect([path, own.headers.get('access-control-allow-origin')]).toEqual([path, new URL(REDIRECT_URI).origin]);
      }
    },
  );

  test('is refused for a public client, which may be an app in a browser', async () => {
    const open = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    const form = { grant_type: 'refresh_token', refresh_token: 'x' };
    const { status, headers, body } = await postForm(tokenUrl, open, form, FOREIGN);
    expect([status, body.error, headers.get('access-control-allow-origin')]).toEqual([400, 'invalid_request', null]);
  });
});

describe('a grant that the client is not registered for: unauthorized_client (RFC 6749 §5.2)', () => {
  const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

  test.each([
    ['authorization_code', { code: 'x', redirect_uri: 'https://app.example/callback' }],
    ['refresh_token', { refresh_token: 'x' }],
    [DEVICE_GRANT, { device_code: 'x' }],
    ['urn:ietf:params:oauth:grant-type:token-exchange', { subject_token: 'x' }],
  ])('a machine with %s', async (grant_type, form) => {
    const headers = basic(client.clientId, client.clientSecret);
    const { status, body } = await post({ grant_type, ...(form as Record<string, string>) }, headers);
    expect([status, body.error]).toEqual([400, 'unauthorized_client']);
  });

  test('an app for users with client_credentials', async () => {
    const app = await server.admin.createClient(CODE_FLOW);
    const { status, body } = await requestToken(server.issuer, app);
    expect([status, body.error]).toEqual([400, 'unauthorized_client']);
  });

  test('a grant that this server does not have is unsupported_grant_type', async () => {
    const headers = basic(client.clientId, client.clientSecret);
    const { body } = await post({ grant_type: 'password', username: 'x', password: 'y' }, headers);
    expect(body.error).toBe('unsupported_grant_type');
  });

  test.each([
    ['device_authorization', { scope: 'openid' }],
    ['par', { response_type: 'code', redirect_uri: REDIRECT_URI }],
  ])('a machine at /oauth2/%s', async (path, form) => {
    const machine = await newClient({ redirect_uris: [REDIRECT_URI], response_types: [] });
    const whole = { client_id: machine.clientId, ...(form as Record<string, string>) };
    const answer = await postForm(`${server.issuer}/oauth2/${path}`, machine, whole);
    expect([answer.status, answer.body.error]).toEqual([400, 'unauthorized_client']);
  });
});
