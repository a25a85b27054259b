// Dynamically registered clients: RFC 7591, RFC 7592, client ID metadata documents. They get only
// the scopes that a resource server offers to unverified clients.

import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { dynamicClientRegistration } from 'openid-client';
import { type Answer, introspect, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import {
  ALICE,
  authorizationUrl,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
} from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const OPEN_API = 'https://open.example';
const CLOSED_API = 'https://closed.example';
const APP = { redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none', client_name: 'An app' };

let server: TestServer;
let introspector: TestClient;
let documents: DocumentHost;
let answer: RequestListener = (_request, response) => response.writeHead(404).end();
let fetches = 0;

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    fetches += 1;
    answer(request, response);
  });
  const { host } = documents;
  server = await startTestServer({
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
  });
  introspector = await server.admin.createClient();
  const members = { scopes: ['read', 'write'], introspection_client_id: introspector.clientId };
  await server.admin.createApi(OPEN_API, { ...members, self_registered_clients: { scopes: ['read'] } });
  await server.admin.createApi(CLOSED_API, members);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

async function initialToken(members: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await server.admin.request('POST', '/initial-access-tokens', members);
  expect(status).toBe(201);
  return body.token as string;
}

async function call(method: string, path: string, token: string | undefined, body?: unknown): Promise<Answer> {
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  const init = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register${path}`, { method, headers, ...init }));
}

async function registered(metadata: Record<string, unknown> = APP): Promise<TestClient & { token: string }> {
  const { status, body } = await call('POST', '', await initialToken(), metadata);
  if (status !== 201) throw new Error(JSON.stringify(body));
  return {
    clientId: body.client_id as string,
    clientSecret: (body.client_secret as string | undefined) ?? '',
    token: body.registration_access_token as string,
  };
}

describe('registration (RFC 7591)', () => {
  test('openid-client registers itself, with the endpoint from discovery', async () => {
    const configuration = await dynamicClientRegistration(
      new URL(server.issuer),
      { redirect_uris: [REDIRECT_URI], client_name: 'Self-made' },
      undefined,
      { initialAccessToken: await initialToken(), execute: [(await import('openid-client')).allowInsecureRequests] },
    );
    const { client_id, client_secret } = configuration.clientMetadata();
    expect(client_secret).toEqual(expect.any(String));
    const { body } = await server.admin.request('GET', `/clients/${client_id}`);
    expect(body).toMatchObject({ client_name: 'Self-made', registered_by: expect.stringMatching(/^token:/) });
  });

  test('the response has all registered members, and both secrets once', async () => {
    const { status, headers, body } = await call('POST', '', await initialToken(), {
      redirect_uris: [REDIRECT_URI],
      scope: 'openid email api:something',
      unknown_member: 'is ignored',
      require_pkce: true,
      require_issuer_audience: true,
    });
    expect([status, headers.get('cache-control')]).toEqual([201, 'no-store']);
    expect(body).toMatchObject({
      client_secret: expect.stringMatching(/^lys_/),
      client_secret_expires_at: 0,
      registration_access_token: expect.stringMatching(/^lyg_/),
      registration_client_uri: `${server.issuer}/oauth2/register/${body.client_id}`,
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      require_issuer_audience: true,
      scope: 'openid email',
    });
    expect(body).not.toHaveProperty('unknown_member');
    const { rows } = await server.sql.query(`SELECT to_jsonb(c)::text AS text FROM clients c WHERE client_id = $1`, [
      body.client_id,
    ]);
    expect(rows[0].text).not.toContain(String(body.registration_access_token));
  });

  test('an initial access token is accepted max_uses times, also in parallel', async () => {
    const token = await initialToken({ max_uses: 3 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => call('POST', '', token, APP)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, ...Array(7).fill(401)]);
    expect(answers.find(({ status }) => status === 401)?.headers.get('www-authenticate')).toContain('invalid_token');
  });

  test('a refused registration does not count as a use', async () => {
    const token = await initialToken();
    expect((await call('POST', '', token, { ...APP, redirect_uris: ['javascript:alert(1)'] })).body.error).toBe(
      'invalid_redirect_uri',
    );
    expect((await call('POST', '', token, APP)).status).toBe(201);
  });

  test('a removed, expired or invented one is refused, although registration is open', async () => {
    const { body } = await server.admin.request('POST', '/initial-access-tokens', {});
    expect((await server.admin.request('DELETE', `/initial-access-tokens/${body.id}`)).status).toBe(204);
    const expired = await initialToken({ note: 'expired' });
    await server.sql.query(
      `UPDATE initial_access_tokens SET expires_at = now() - interval '1 second' WHERE note = 'expired'`,
    );
    for (const token of [String(body.token), expired, 'lyi_made-up']) {
      const { status, body: refusal } = await call('POST', '', token, APP);
      expect([status, refusal.error]).toEqual([401, 'invalid_token']);
    }
  });

  test('the list of initial access tokens contains no token', async () => {
    const token = await initialToken({ note: 'for the list', allowed: { redirect_hosts: ['app.example'] } });
    const { body } = await server.admin.request('GET', '/initial-access-tokens?limit=100');
    expect(body.items).toContainEqual(expect.objectContaining({ note: 'for the list', max_uses: 1, uses: 0 }));
    expect(JSON.stringify(body)).not.toContain(token);
  });

  test('it allows only what it lists', async () => {
    const allowed = { redirect_hosts: ['good.example'], grant_types: ['authorization_code'] };
    const token = await initialToken({ max_uses: 10, allowed });
    const good = { ...APP, redirect_uris: ['https://good.example/callback'] };
    expect((await call('POST', '', token, APP)).body.error).toBe('invalid_redirect_uri');
    expect(
      (await call('POST', '', token, { ...good, grant_types: ['authorization_code', 'refresh_token'] })).body.error,
    ).toBe('invalid_client_metadata');
    expect((await call('POST', '', token, good)).status).toBe(201);
  });

  describe('an initial access token with require_pkce false', () => {
    const CONFIDENTIAL = { redirect_uris: [REDIRECT_URI], grant_types: ['authorization_code'] };
    const stored = async (clientId: unknown) => (await server.admin.request('GET', `/clients/${clientId}`)).body;

    test('sets it for the confidential clients that register with it, which cannot name it themselves', async () => {
      const token = await initialToken({ require_pkce: false, max_uses: 2 });
      const { body } = await call('POST', '', token, CONFIDENTIAL);
      expect(body.require_pkce).toBe(false);
      const app = { clientId: String(body.client_id), clientSecret: String(body.client_secret) };
      const issued = await obtainCode(server, app, { code_challenge: undefined, code_challenge_method: undefined });
      expect((await exchange(server, app, issued, { code_verifier: undefined })).status).toBe(200);
      const strict = await call('POST', '', token, { ...CONFIDENTIAL, require_pkce: true });
      expect(strict.body.require_pkce).toBe(true);
      const { body: list } = await server.admin.request('GET', '/initial-access-tokens?limit=100');
      expect(list.items).toContainEqual(expect.objectContaining({ require_pkce: false, max_uses: 2, uses: 2 }));
    });

    test.each<[string, Record<string, unknown>]>([
      ['a public client', { token_endpoint_auth_method: 'none' }],
      ['a FAPI client', { security_profile: 'fapi2', jwks_uri: 'https://app.example/jwks' }],
    ])('does not loosen %s', async (_name, members) => {
      const token = await initialToken({ require_pkce: false });
      const refused = await call('POST', '', token, { ...CONFIDENTIAL, ...members, require_pkce: false });
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_client_metadata']);
      const { status, body } = await call('POST', '', token, { ...CONFIDENTIAL, ...members });
      expect([status, body.require_pkce]).toEqual([201, true]);
    });

    test('the client repeats what it has at RFC 7592, or leaves it out; true is for good, also when an operator sets it', async () => {
      const token = await initialToken({ require_pkce: false });
      const { body } = await call('POST', '', token, CONFIDENTIAL);
      const put = (members: Record<string, unknown>) =>
        call('PUT', `/${body.client_id}`, String(body.registration_access_token), {
          ...{ ...CONFIDENTIAL, client_id: body.client_id },
          ...members,
        });
      expect((await put({ require_pkce: false })).body.require_pkce).toBe(false);
      expect((await put({ client_name: 'Renamed' })).body.require_pkce).toBe(false);
      const { status } = await server.admin.request('PATCH', `/clients/${body.client_id}`, { require_pkce: true });
      expect([status, (await put({})).body.require_pkce]).toEqual([200, true]);
      expect((await put({ require_pkce: false })).body.error).toBe('invalid_client_metadata');
      expect((await stored(body.client_id)).require_pkce).toBe(true);
    });
  });

  const faults: [string, unknown, string][] = [
    ['malformed JSON', '{', 'invalid_client_metadata'],
    ['a list', [], 'invalid_client_metadata'],
    ['a redirect URI over http', { ...APP, redirect_uris: ['http://app.example/'] }, 'invalid_redirect_uri'],
    ['a redirect URI that is a number', { ...APP, redirect_uris: [7] }, 'invalid_redirect_uri'],
    ['no redirect URI', { ...APP, redirect_uris: [] }, 'invalid_redirect_uri'],
    [
      'client_credentials',
      {
        ...APP,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['client_credentials'],
        response_types: [],
      },
      'invalid_client_metadata',
    ],
    [
      'token exchange',
      { ...APP, grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] },
      'invalid_client_metadata',
    ],
    ['no PKCE', { redirect_uris: [REDIRECT_URI], require_pkce: false }, 'invalid_client_metadata'],
    [
      'an unknown authentication method',
      { ...APP, token_endpoint_auth_method: 'client_secret_jwt' },
      'invalid_client_metadata',
    ],
    ['a name of a megabyte', { ...APP, client_name: 'x'.repeat(1_000_000) }, 'invalid_client_metadata'],
  ];
  test.each(faults)('refused: %s', async (_name, metadata, error) => {
    const { status, body } = await call('POST', '', await initialToken(), metadata);
    expect([status >= 400 && status < 500, body.error]).toEqual([true, error]);
  });

  test.each(['client_secret_jwt', 'attest_jwt_client_auth', 'nonsense'])(
    'an authentication method that is not offered is named, with those that are: %s',
    async (method) => {
      const refused = {
        detail: `token_endpoint_auth_method ${method} is not offered: use one of client_secret_basic, client_secret_post, private_key_jwt, none, tls_client_auth, self_signed_tls_client_auth`,
      };
      const metadata = { ...APP, token_endpoint_auth_method: method };
      const { body } = await call('POST', '', await initialToken(), metadata);
      expect(body).toEqual({ error: 'invalid_client_metadata', error_description: refused.detail });
      const byAdmin = await server.admin.request('POST', '/clients', metadata);
      expect([byAdmin.status, byAdmin.body.detail]).toEqual([400, refused.detail]);
      const { clientId } = await server.admin.createClient(APP);
      const changed = await server.admin.request('PATCH', `/clients/${clientId}`, {
        token_endpoint_auth_method: method,
      });
      expect([changed.status, changed.body.detail]).toEqual([400, refused.detail]);
    },
  );

  test.each<[string, unknown]>([
    ['authorization_details_types', ['payment']],
    ['refresh_token_grace_seconds', 60],
    ['refresh_token_reuse_in_grace', true],
  ])(
    '%s is for operators, and refused by name: a client would think that it has what it asked for',
    async (name, value) => {
      const refused = { error: 'invalid_client_metadata', error_description: `${name} can be set by operators only` };
      const { status, body } = await call('POST', '', await initialToken(), { ...APP, [name]: value });
      expect([status, body]).toEqual([400, refused]);
      // RFC 7592 §2.2
      const own = await registered(APP);
      const replaced = await call('PUT', `/${own.clientId}`, own.token, {
        ...APP,
        client_id: own.clientId,
        [name]: value,
      });
      expect([replaced.status, replaced.body]).toEqual([400, refused]);
      // null is as good as nothing.
      const left = await call('POST', '', await initialToken(), { ...APP, [name]: null });
      expect([left.status, left.body]).toEqual([201, expect.not.objectContaining({ [name]: expect.anything() })]);
    },
  );

  test('unknown members are ignored (RFC 7591 §2), those of the admin API too', async () => {
    const { clientId } = await registered({ ...APP, registered_by: 'admin', software_id: 'x' });
    const { body } = await server.admin.request('GET', `/clients/${clientId}`);
    expect(body).not.toHaveProperty('software_id');
    expect(body.registered_by).toMatch(/^token:/);
  });

  test('open registration is rate-limited by address, and off by default', async () => {
    const closed = await startTestServer();
    const refusal = await fetch(`${closed.issuer}/oauth2/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(APP),
    });
    expect(refusal.status).toBe(401);
    await closed.stop();
    const statuses = [];
    for (let attempt = 0; attempt < 22; attempt++) statuses.push((await call('POST', '', undefined, APP)).status);
    expect([statuses[0], statuses.at(-1)]).toEqual([201, 429]);
    await server.sql.query('DELETE FROM login_throttle');
  });
});

describe('the scopes of a dynamically registered client', () => {
  test('an API without an offer is refused; one with an offer gives its scopes, also at introspection', async () => {
    const app = await registered();
    const tokens = await obtainTokens(server, app, { scope: 'openid read write', resource: OPEN_API });
    expect(decodeJwt(tokens.accessToken)).toMatchObject({
      azp: app.clientId,
      client_id: app.clientId,
      scope: 'openid read',
    });
    expect((await introspect(server.issuer, introspector, tokens.accessToken)).body).toMatchObject({
      active: true,
      scope: 'openid read',
    });
    await expect(obtainTokens(server, app, { scope: 'openid read', resource: CLOSED_API })).rejects.toThrow(
      /invalid_target/,
    );
  });

  test('the offer does not apply to a client of an operator', async () => {
    const ordinary = await server.admin.createClient({ redirect_uris: [REDIRECT_URI] });
    await expect(obtainTokens(server, ordinary, { scope: 'openid read', resource: OPEN_API })).rejects.toThrow(
      /invalid_target/,
    );
  });

  test('when the API removes its offer, issued tokens become inactive', async () => {
    const app = await registered();
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: OPEN_API });
    const path = `/resource-servers/${encodeURIComponent(OPEN_API)}`;
    await server.admin.request('PATCH', path, { self_registered_clients: null });
    expect(await isActive(server, introspector, accessToken)).toBe(false);
    await server.admin.request('PATCH', path, { self_registered_clients: { scopes: ['read'] } });
    expect(await isActive(server, introspector, accessToken)).toBe(true);
  });

  test('the consent page says that the client is unverified', async () => {
    const app = await registered();
    const agent = createUserAgent(server.issuer);
    const url = authorizationUrl(server.issuer, {
      client_id: app.clientId,
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    });
    const login = await agent.visit(url);
    const { html } = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    expect(html).toMatch(/id="unverified"[\s\S]*app\.example/);
  });

  test('an offer of scopes that the API does not have is refused', async () => {
    const { status, body } = await server.admin.request('PATCH', `/resource-servers/${encodeURIComponent(OPEN_API)}`, {
      self_registered_clients: { scopes: ['admin'] },
    });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('/self_registered_clients/scopes')]);
  });
});

describe('management (RFC 7592)', () => {
  test('read, replace, remove', async () => {
    const app = await registered({ ...APP, client_uri: 'https://app.example/' });
    const path = `/${app.clientId}`;
    expect((await call('GET', path, app.token)).body).toMatchObject({
      client_id: app.clientId,
      client_uri: 'https://app.example/',
    });
    const replaced = await call('PUT', path, app.token, { ...APP, client_id: app.clientId, client_name: 'New name' });
    expect([replaced.status, replaced.body.client_name]).toEqual([200, 'New name']);
    expect(replaced.body).not.toHaveProperty('client_uri');
    expect((await call('DELETE', path, app.token)).status).toBe(204);
    expect((await call('GET', path, app.token)).status).toBe(401);
    expect((await requestToken(server.issuer, app, { grant_type: 'refresh_token', refresh_token: 'x' })).status).toBe(
      401,
    );
  });

  test('is refused with the token of another client, for a client of an operator, and without a token', async () => {
    const app = await registered();
    const other = await registered();
    const ordinary = await server.admin.createClient();
    const attempts: [string, string | undefined][] = [
      [app.clientId, other.token],
      [ordinary.clientId, app.token],
      [app.clientId, undefined],
      ['unknown', app.token],
      [app.clientId, await server.admin.token()],
    ];
    for (const [clientId, token] of attempts) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const body = method === 'PUT' ? { ...APP, client_id: clientId } : undefined;
        expect((await call(method, `/${clientId}`, token, body)).status).toBe(401);
      }
    }
  });

  test('an update is subject to the same rules as the registration', async () => {
    const app = await registered();
    const put = (members: Record<string, unknown>) =>
      call('PUT', `/${app.clientId}`, app.token, { ...APP, client_id: app.clientId, ...members });
    for (const members of [
      { client_id: 'another' },
      { grant_types: ['client_credentials'] },
      { redirect_uris: ['data:x'] },
    ]) {
      expect((await put(members)).status).toBe(400);
    }
  });

  test('is refused for a disabled client', async () => {
    const app = await registered();
    await server.admin.request('POST', `/clients/${app.clientId}/disable`);
    expect((await call('GET', `/${app.clientId}`, app.token)).status).toBe(401);
  });
});

describe('client ID metadata documents', () => {
  const clientIdOf = (path: string) => `https://${documents.host}${path}`;
  function serve(path: string, changes: Record<string, unknown> = {}): TestClient {
    const document = {
      client_id: clientIdOf(path),
      client_name: 'Agent',
      redirect_uris: [REDIRECT_URI],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      ...changes,
    };
    answer = (_request, response) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify(document));
    return { clientId: clientIdOf(path), clientSecret: '' };
  }

  test('a client with a URL as its id signs a user in, and its tokens are bound to that id', async () => {
    const app = serve('/agent.json');
    const tokens = await obtainTokens(server, app, {
      scope: 'openid read offline_access',
      resource: OPEN_API,
      prompt: 'consent',
    });
    const binding = { client_id: app.clientId, azp: app.clientId };
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ ...binding, scope: 'openid offline_access read' });
    expect((await introspect(server.issuer, introspector, tokens.accessToken)).body).toMatchObject({
      active: true,
      ...binding,
    });
    const { body } = await server.admin.request('GET', `/clients/${encodeURIComponent(app.clientId)}`);
    expect(body).toMatchObject({ registered_by: 'metadata_document', client_name: 'Agent' });
  });

  test('the document is fetched once, not for every request', async () => {
    const app = serve('/cached.json');
    fetches = 0;
    await obtainTokens(server, app);
    await obtainTokens(server, app);
    expect(fetches).toBe(1);
  });

  test('an operator can disable the client; its tokens become inactive, and it stays disabled', async () => {
    const app = serve('/disabled.json');
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: OPEN_API });
    await server.admin.request('POST', `/clients/${encodeURIComponent(app.clientId)}/disable`);
    expect(await isActive(server, introspector, accessToken)).toBe(false);
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
  });

  test('the consent page shows the host of the URL with the name', async () => {
    const app = serve('/named.json', { client_name: 'Your Bank' });
    const agent = createUserAgent(server.issuer);
    const url = authorizationUrl(server.issuer, {
      client_id: app.clientId,
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    });
    const { html } = await agent.submit(formAction((await agent.visit(url)).html, 'login'), { ...ALICE });
    expect(html).toMatch(new RegExp(`id="unverified"[\\s\\S]*${documents.host}`));
  });

  const faults: [string, string, Record<string, unknown>][] = [
    ['that names another client', '/other.json', { client_id: 'https://other.example/client.json' }],
    ['with a secret', '/secret.json', { client_secret: 'x' }],
    ['with an authentication by secret', '/basic.json', { token_endpoint_auth_method: 'client_secret_basic' }],
    ['with client_credentials', '/machine.json', { grant_types: ['client_credentials'], response_types: [] }],
    ['of another redirect URI', '/redirect.json', { redirect_uris: ['https://evil.example/'] }],
    ['without PKCE', '/pkce.json', { require_pkce: false }],
    ['of 6 KB', '/long.json', { client_name: 'x'.repeat(6_000) }],
  ];
  test.each(faults)('a document %s is refused', async (_name, path, changes) => {
    await expect(obtainCode(server, serve(path, changes))).rejects.toThrow();
    const { rows } = await server.sql.query('SELECT 1 FROM oidc_artifacts WHERE model = $1 AND client_id = $2', [
      'AuthorizationCode',
      clientIdOf(path),
    ]);
    expect(rows).toEqual([]);
  });

  test('a document of a host that is not on the list is not fetched', async () => {
    fetches = 0;
    for (const clientId of [
      `https://${documents.host.replace('localhost', '127.0.0.1')}/a.json`,
      'https://169.254.169.254/a.json',
      'https://evil.example/a.json',
    ]) {
      await expect(obtainCode(server, { clientId, clientSecret: '' })).rejects.toThrow();
    }
    expect(fetches).toBe(0);
  });

  test('a redirect is not followed', async () => {
    const visited: (string | undefined)[] = [];
    answer = (request, response) => {
      visited.push(request.url);
      response.writeHead(302, { location: '/elsewhere' }).end();
    };
    await expect(obtainCode(server, { clientId: clientIdOf('/moved.json'), clientSecret: '' })).rejects.toThrow();
    expect([...new Set(visited)]).toEqual(['/moved.json']);
  });

  test('discovery announces them', async () => {
    const metadata = await (await fetch(`${server.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({
      client_id_metadata_document_supported: true,
      registration_endpoint: `${server.issuer}/oauth2/register`,
    });
  });
});

describe('software that is idle', () => {
  async function isNoted({ clientId }: TestClient): Promise<boolean> {
    return (await server.sql.query('SELECT 1 FROM client_uses WHERE client_id = $1', [clientId])).rows.length > 0;
  }

  test('are listed first, and removed only if configured; others stay', async () => {
    const idle = await registered({ ...APP, client_name: 'Idle' });
    const busy = await registered({ ...APP, client_name: 'Busy' });
    const { accessToken: idleToken } = await obtainTokens(server, idle, { scope: 'openid read', resource: OPEN_API });
    expect(await isActive(server, introspector, idleToken)).toBe(true);
    // The time of the last use is written after the answer.
    await until(() => isNoted(idle));
    await server.sql.query(`UPDATE client_uses SET last_used_at = now() - interval '40 days'`);
    await server.sql.query(`UPDATE clients SET created_at = now() - interval '40 days' WHERE client_id = ANY($1)`, [
      [idle.clientId, busy.clientId, introspector.clientId],
    ]);
    await obtainTokens(server, busy);
    await until(() => isNoted(busy));
    const { body } = await server.admin.request('GET', '/idle-clients?days=30');
    expect((body.items as { client_id: string }[]).map(({ client_id }) => client_id)).toEqual([idle.clientId]);
    expect((await server.admin.request('GET', `/clients/${idle.clientId}`)).status).toBe(200);
    const removing = await server.startTwin({ LANYARD_SELF_REGISTERED_IDLE_DAYS: '30' });
    await until(async () => (await server.admin.request('GET', `/clients/${idle.clientId}`)).status === 404);
    await removing.stop();
    expect(await isActive(server, introspector, idleToken)).toBe(false);
    expect((await server.admin.request('GET', `/clients/${idle.clientId}`)).status).toBe(404);
    expect((await server.admin.request('GET', `/clients/${busy.clientId}`)).status).toBe(200);
    const events = await server.admin.request(
      'GET',
      `/audit-events?type=client.idle_removed&client_id=${idle.clientId}`,
    );
    expect(events.body.items).toHaveLength(1);
  });
});

test('a code of such a client can be redeemed', async () => {
  const app = await registered();
  expect((await exchange(server, app, await obtainCode(server, app))).status).toBe(200);
});

test('both paths of RFC 8414 §3 and §5 return the same metadata', async () => {
  const [oauth, openid] = await Promise.all(
    ['oauth-authorization-server', 'openid-configuration'].map(async (name) =>
      (await fetch(`${server.issuer}/.well-known/${name}`)).json(),
    ),
  );
  expect(oauth).toEqual(openid);
  expect(oauth).toMatchObject({ issuer: server.issuer, registration_endpoint: `${server.issuer}/oauth2/register` });
});
