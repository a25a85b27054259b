// Software that registers itself, and means ill: it would be more than its initial access token allowed, more than an operator left
// it, or look like somebody else. And what clients rely on in the answers of RFC 7591 and RFC 7592.

import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, requestToken, toAnswer } from '../support/admin.ts';
import { ALICE, authorizationUrl, obtainTokens, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const APP = { redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none', client_name: 'An app' };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ LANYARD_DANGER_OPEN_REGISTRATION: 'true' });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

async function call(method: string, path: string, authorization: string | undefined, body?: unknown): Promise<Answer> {
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  if (authorization !== undefined) headers.authorization = authorization;
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register${path}`, { method, headers, ...init }));
}

interface Own {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly body: Answer['body'];
  put(members: Record<string, unknown>): Promise<Answer>;
  get(): Promise<Answer>;
}

/** Registers with a new initial access token. */
async function register(metadata: Record<string, unknown> = APP, token: Record<string, unknown> = {}): Promise<Own> {
  const initial = await server.admin.request('POST', '/initial-access-tokens', token);
  const { status, body } = await call('POST', '', `Bearer ${initial.body.token}`, metadata);
  if (status !== 201) throw new Error(JSON.stringify(body));
  const path = `/${body.client_id}`;
  const authorization = `Bearer ${body.registration_access_token}`;
  return {
    clientId: String(body.client_id),
    clientSecret: String(body.client_secret ?? ''),
    body,
    put: (members) => call('PUT', path, authorization, { ...metadata, client_id: body.client_id, ...members }),
    get: () => call('GET', path, authorization),
  };
}

describe('a registration that is replaced (RFC 7592 §2.2)', () => {
  test('stays within what its initial access token allowed, also when that is used up or gone', async () => {
    const app = { ...APP, redirect_uris: ['https://good.example/callback'] };
    const allowed = { redirect_hosts: ['good.example'], grant_types: ['authorization_code'] };
    const own = await register(app, { allowed });
    await server.sql.query('DELETE FROM initial_access_tokens');
    expect((await own.put({ redirect_uris: ['https://good.example/other'] })).status).toBe(200);
    expect((await own.put({ redirect_uris: ['https://evil.example/callback'] })).body.error).toBe(
      'invalid_redirect_uri',
    );
    for (const members of [
      { post_logout_redirect_uris: ['https://evil.example/'] },
      { grant_types: ['authorization_code', 'refresh_token'] },
    ]) {
      expect((await own.put(members)).body.error).toBe('invalid_client_metadata');
    }
  });

  test('keeps what its initial access token allowed beyond the ordinary', async () => {
    const machine = { grant_types: ['client_credentials'], redirect_uris: [], client_name: 'Machine' };
    const own = await register(machine, { allowed: { grant_types: ['client_credentials'] } });
    const { status, body } = await own.put({ client_name: 'Renamed' });
    expect([status, body.client_name, body.grant_types]).toEqual([200, 'Renamed', ['client_credentials']]);
  });

  test('does not shake off what an operator has set', async () => {
    const own = await register();
    await server.admin.request('PATCH', `/clients/${own.clientId}`, { refresh_token_grace_seconds: 0 });
    expect((await own.put({ refresh_token_grace_seconds: 60 })).status).toBe(200);
    const { body } = await server.admin.request('GET', `/clients/${own.clientId}`);
    expect(body.refresh_token_grace_seconds).toBe(0);
  });

  test('does not choose its secret, and may name the one that was issued', async () => {
    const own = await register({ redirect_uris: [REDIRECT_URI] });
    for (const client_secret of ['chosen by an attacker', '', 7]) {
      expect((await own.put({ client_secret })).body.error).toBe('invalid_client_metadata');
    }
    expect((await own.put({ client_secret: own.clientSecret })).status).toBe(200);
    await obtainTokens(server, own);
  });

  test.each([
    'registration_access_token',
    'registration_client_uri',
    'client_secret_expires_at',
    'client_id_issued_at',
  ])('does not say %s', async (name) => {
    const own = await register();
    expect((await own.put({ [name]: 1 })).body.error).toBe('invalid_client_metadata');
    expect((await own.get()).status).toBe(200);
  });

  test('gets a secret when it turns into a client that needs one', async () => {
    const own = await register();
    const { status, body } = await own.put({ token_endpoint_auth_method: 'client_secret_basic' });
    expect([status, body.client_secret_expires_at]).toEqual([200, 0]);
    const confidential = { clientId: own.clientId, clientSecret: String(body.client_secret) };
    await obtainTokens(server, confidential);
    const guessed = { ...confidential, clientSecret: '' };
    expect(
      (await requestToken(server.issuer, guessed, { grant_type: 'refresh_token', refresh_token: 'x' })).status,
    ).toBe(401);
  });

  test('shows where and how to go on (§3), and goes on working when the keys of the server have changed', async () => {
    const own = await register();
    const expected = {
      registration_access_token: own.body.registration_access_token,
      registration_client_uri: own.body.registration_client_uri,
    };
    expect((await own.put({})).body).toMatchObject(expected);
    await server.admin.request('POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 0 });
    const { status, body } = await own.get();
    expect([status, body]).toEqual([200, expect.objectContaining(expected)]);
  });
});

describe('without the right token', () => {
  test('401; the reason is named only to whoever presented something (RFC 6750 §3.1)', async () => {
    const own = await register();
    const nothing = await call('GET', `/${own.clientId}`, undefined);
    expect([nothing.status, nothing.headers.get('www-authenticate')]).toEqual([401, `Bearer realm="${server.issuer}"`]);
    const wrong = await call('GET', `/${own.clientId}`, 'Bearer wrong');
    expect(wrong.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  test('something that is no bearer token does not count as nothing, although anybody may register', async () => {
    for (const authorization of ['Basic YTpi', 'Bearer', 'Bearer two tokens', 'DPoP lyi_x']) {
      expect((await call('POST', '', authorization, APP)).status).toBe(401);
    }
    expect((await call('POST', '', undefined, APP)).status).toBe(201);
  });

  test.each(['/%00', '/%E0', `/${'x'.repeat(5000)}`, '/..%2f..%2fadmin'])(
    '%s is nobody’s registration',
    async (path) => {
      const { status } = await call('GET', path, 'Bearer lyg_x');
      expect([400, 401, 404]).toContain(status);
    },
  );
});

test('twenty uses at once of an initial access token that is good for one make one client', async () => {
  const { body } = await server.admin.request('POST', '/initial-access-tokens', { max_uses: 1 });
  const answers = await Promise.all(Array.from({ length: 20 }, () => call('POST', '', `Bearer ${body.token}`, APP)));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(answers.filter(({ status }) => status === 401)).toHaveLength(19);
});

describe('metadata that would deceive or harm somebody', () => {
  const native = { application_type: 'native' };
  const faults: [string, Record<string, unknown>][] = [
    ['a script as redirect URI of a native app', { ...native, redirect_uris: ['javascript:alert(1)'] }],
    ['a script behind a line break', { ...native, redirect_uris: ['java\nscript:alert(1)'] }],
    ['a data URI', { ...native, redirect_uris: ['data:text/html,x'] }],
    ['a redirect URI with a fragment', { redirect_uris: ['https://app.example/#x'] }],
    ['a redirect URI over http', { ...native, redirect_uris: ['http://app.example/'] }],
    ['a redirect URI that is none', { redirect_uris: ['/callback'] }],
    ['a script after the logout', { ...native, post_logout_redirect_uris: ['javascript:alert(1)'] }],
    ['a script as logo', { logo_uri: 'javascript:alert(1)' }],
    ['a script as policy', { policy_uri: 'javascript:alert(1)' }],
    ['a script as terms', { tos_uri: 'data:text/html,x' }],
    ['a script as home page', { client_uri: 'javascript:alert(1)' }],
    ['a login page over http', { initiate_login_uri: 'http://app.example/' }],
    ['logout notices over http', { backchannel_logout_uri: 'http://app.example/' }],
    ['a name that turns round', { client_name: '\u202eknaB ruoY' }],
    ['a name of several lines', { client_name: 'An app\nVerified by the operator' }],
    [
      'a private key',
      { jwks: { keys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })] } },
    ],
    ['a profile that it contradicts', { security_profile: 'fapi2' }],
    ['a profile that there is not', { security_profile: 'none' }],
    ['both sets of keys', { jwks: { keys: [] }, jwks_uri: 'https://app.example/jwks' }],
  ];
  test.each(faults)('%s is refused', async (_name, members) => {
    await expect(register({ ...APP, ...members })).rejects.toThrow(/invalid_client_metadata|invalid_redirect_uri/);
  });

  test('a pattern of redirect URIs is a host like any other: it matches nothing but itself', async () => {
    const { clientId } = await register({ ...APP, redirect_uris: ['https://*.app.example/callback'] });
    const url = authorizationUrl(server.issuer, {
      client_id: clientId,
      redirect_uri: 'https://evil.app.example/callback',
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    });
    expect((await createUserAgent(server.issuer).visit(url)).html).toContain('error-page');
  });

  test('a name is text, whatever it holds', async () => {
    const { clientId } = await register({ ...APP, client_name: '<img src=x onerror=alert(1)> & "Bank"' });
    const url = authorizationUrl(server.issuer, {
      client_id: clientId,
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    });
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(url);
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    for (const { html } of [login, consent]) {
      expect(html).toContain('&lt;img src=x');
      expect(html).not.toContain('<img');
    }
  });

  test('names in the scripts of the world are as good as any', async () => {
    for (const client_name of ['Привет', 'שלום', '天気', 'Café “Zoë”', '👩‍🚀']) {
      expect((await register({ ...APP, client_name })).body.client_name).toBe(client_name);
    }
  });
});
