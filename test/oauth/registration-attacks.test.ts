// Dynamic registration by attackers: a client that would exceed its initial access token, undo what
// an operator has set, or imitate another client. And responses of RFC 7591 and RFC 7592.

import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, requestToken, toAnswer } from '../support/admin.ts';
import { ALICE, authorizationUrl, CODE_FLOW, obtainTokens, REDIRECT_URI, refresh, userinfo } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent, formAction, pkcePair, type UserAgent } from '../support/user-agent.ts';

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

describe('an update of a registration (RFC 7592 §2.2)', () => {
  test('cannot exceed what its initial access token allowed, also after that was used up or removed', async () => {
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

  test('keeps what its initial access token allowed in addition to the defaults', async () => {
    const machine = { grant_types: ['client_credentials'], redirect_uris: [], client_name: 'Machine' };
    const own = await register(machine, { allowed: { grant_types: ['client_credentials'] } });
    const { status, body } = await own.put({ client_name: 'Renamed' });
    expect([status, body.client_name, body.grant_types]).toEqual([200, 'Renamed', ['client_credentials']]);
  });

  test('cannot undo what an operator has set', async () => {
    const own = await register();
    await server.admin.request('PATCH', `/clients/${own.clientId}`, { refresh_token_grace_seconds: 0 });
    expect((await own.put({ refresh_token_grace_seconds: 60 })).status).toBe(400);
    // What the client has read it may repeat (RFC 7592 §2.2), or leave out.
    expect((await own.put({ refresh_token_grace_seconds: 0 })).status).toBe(200);
    expect((await own.put({})).status).toBe(200);
    const { body } = await server.admin.request('GET', `/clients/${own.clientId}`);
    expect(body.refresh_token_grace_seconds).toBe(0);
  });

  test('cannot choose its secret, but may repeat the issued one', async () => {
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
  ])('cannot set %s', async (name) => {
    const own = await register();
    expect((await own.put({ [name]: 1 })).body.error).toBe('invalid_client_metadata');
    expect((await own.get()).status).toBe(200);
  });

  test('gets a secret when its new authentication method requires one', async () => {
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

  test('returns the configuration URI and token (§3), which stay valid when the server keys change', async () => {
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

describe('a client that changes after a user has allowed it', () => {
  const MOVED = 'https://bank.example/callback';

  /** What the user sees when the app asks again. */
  async function askAgain({ clientId }: Own, agent: UserAgent, redirect_uri = REDIRECT_URI) {
    const { challenge } = pkcePair();
    const request = { client_id: clientId, redirect_uri, code_challenge: challenge, code_challenge_method: 'S256' };
    const page = await agent.visit(authorizationUrl(server.issuer, request));
    return page.html.includes('id="login-page"') ? agent.submit(formAction(page.html, 'login'), { ...ALICE }) : page;
  }

  async function revocationsOf({ clientId }: Own): Promise<unknown[]> {
    const path = `/audit-events?type=client.tokens_revoked&client_id=${clientId}`;
    return (await server.admin.request('GET', path)).body.items as unknown[];
  }

  test('cannot move to the host of another app, whose subjects its old tokens would tell', async () => {
    const own = await register({ ...APP, subject_type: 'pairwise' });
    const { accessToken } = await obtainTokens(server, own);
    const before = (await userinfo(server, accessToken)).body;
    expect((await own.put({ redirect_uris: [MOVED] })).body.error).toBe('invalid_redirect_uri');
    expect((await userinfo(server, accessToken)).body).toEqual(before);
    expect((await own.put({ redirect_uris: [`${REDIRECT_URI}/two`] })).status).toBe(200);
    expect((await userinfo(server, accessToken)).body).toEqual(before);
  });

  test.each([
    ['public', 'pairwise'],
    ['pairwise', 'public'],
  ])('cannot turn %s subjects into %s ones', async (from, to) => {
    const own = await register({ ...APP, subject_type: from });
    const { status, body } = await own.put({ subject_type: to });
    expect([status, body.error, body.error_description]).toEqual([
      400,
      'invalid_client_metadata',
      expect.stringContaining('subject_type'),
    ]);
  });

  test('gets no code at another host without asking the user, and its tokens end', async () => {
    const own = await register({ ...APP, grant_types: ['authorization_code', 'refresh_token'] });
    const agent = createUserAgent(server.issuer);
    const { accessToken, refreshToken } = await obtainTokens(server, own, {}, { agent });
    expect((await askAgain(own, agent)).leavesTo?.searchParams.get('code')).toBeTruthy();
    expect((await own.put({ redirect_uris: [REDIRECT_URI, MOVED] })).status).toBe(200);
    for (const browser of [agent, createUserAgent(server.issuer)]) {
      const { html } = await askAgain(own, browser, MOVED);
      expect(html).toContain('id="consent-page"');
      expect(html).toContain('bank.example');
    }
    expect((await userinfo(server, accessToken)).status).toBe(401);
    expect((await refresh(server, own, refreshToken)).body.error).toBe('invalid_grant');
    expect(await revocationsOf(own)).toEqual([
      expect.objectContaining({ detail: expect.objectContaining({ changed_members: ['redirect_uris'] }) }),
    ]);
    await obtainTokens(server, own);
  });

  test('keeps its tokens when only ports of the machine of the user change', async () => {
    const native = { ...APP, application_type: 'native', redirect_uris: ['http://127.0.0.1:1/', 'com.app:/back'] };
    const own = await register(native);
    const redirect_uri = 'com.app:/back';
    const { accessToken } = await obtainTokens(server, own, { redirect_uri }, {}, { redirect_uri });
    expect((await own.put({ redirect_uris: ['http://localhost:2/', 'com.app:/other'] })).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(200);
    expect(await revocationsOf(own)).toEqual([]);
  });

  test('asks again under another name, when the user signs in the next time', async () => {
    const own = await register();
    const { accessToken } = await obtainTokens(server, own);
    expect((await own.put({ client_name: 'Your Bank' })).status).toBe(200);
    expect((await askAgain(own, createUserAgent(server.issuer))).html).toContain('Your Bank');
    expect((await userinfo(server, accessToken)).status).toBe(200);
  });

  test('loses its tokens when all its keys are others, as a thief of its registration access token would set them', async () => {
    const [first, next, thief] = await Promise.all([newSigner(), newSigner(), newSigner()]);
    const jwks = (...signers: Signer[]) => ({ jwks: { keys: signers.map(({ publicJwk }) => publicJwk) } });
    const own = await register({ ...APP, grant_types: ['authorization_code', 'refresh_token'], ...jwks(first) });
    const { accessToken, refreshToken } = await obtainTokens(server, own);
    expect((await own.put(jwks(first, next))).status).toBe(200);
    expect((await own.put(jwks(next))).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(200);
    expect((await own.put(jwks(thief))).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(401);
    expect((await refresh(server, own, refreshToken)).body.error).toBe('invalid_grant');
    expect(await revocationsOf(own)).toEqual([
      expect.objectContaining({ detail: expect.objectContaining({ changed_members: ['jwks'] }) }),
    ]);
  });

  test('loses refresh tokens that only it could use when it stops to authenticate', async () => {
    const confidential = { redirect_uris: [REDIRECT_URI], grant_types: ['authorization_code', 'refresh_token'] };
    const own = await register(confidential);
    const { refreshToken } = await obtainTokens(server, own);
    expect((await own.put({ token_endpoint_auth_method: 'none' })).status).toBe(200);
    const stolen = await refresh(server, { clientId: own.clientId, clientSecret: '' }, refreshToken);
    expect(stolen.body.error).toBe('invalid_grant');
  });
});

describe('without the registration access token', () => {
  test('401; with an error code only if a token was presented (RFC 6750 §3.1)', async () => {
    const own = await register();
    const nothing = await call('GET', `/${own.clientId}`, undefined);
    expect([nothing.status, nothing.headers.get('www-authenticate')]).toEqual([401, `Bearer realm="${server.issuer}"`]);
    const wrong = await call('GET', `/${own.clientId}`, 'Bearer wrong');
    expect(wrong.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  test('a malformed token is refused, although registration is open', async () => {
    for (const authorization of ['Basic YTpi', 'Bearer', 'Bearer two tokens', 'DPoP lyi_x']) {
      expect((await call('POST', '', authorization, APP)).status).toBe(401);
    }
    expect((await call('POST', '', undefined, APP)).status).toBe(201);
  });

  test.each(['/%00', '/%E0', `/${'x'.repeat(5000)}`, '/..%2f..%2fadmin'])('%s is not a registration', async (path) => {
    const { status } = await call('GET', path, 'Bearer lyg_x');
    expect([400, 401, 404]).toContain(status);
  });
});

test('twenty parallel uses of an initial access token for one client register one client', async () => {
  const { body } = await server.admin.request('POST', '/initial-access-tokens', { max_uses: 1 });
  const answers = await Promise.all(Array.from({ length: 20 }, () => call('POST', '', `Bearer ${body.token}`, APP)));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(answers.filter(({ status }) => status === 401)).toHaveLength(19);
});

describe('metadata that could deceive or harm a user', () => {
  const native = { application_type: 'native' };
  const faults: [string, Record<string, unknown>][] = [
    ['a script as redirect URI of a native app', { ...native, redirect_uris: ['javascript:alert(1)'] }],
    ['a script behind a line break', { ...native, redirect_uris: ['java\nscript:alert(1)'] }],
    ['a data URI', { ...native, redirect_uris: ['data:text/html,x'] }],
    ['a redirect URI with a fragment', { redirect_uris: ['https://app.example/#x'] }],
    ['a redirect URI over http', { ...native, redirect_uris: ['http://app.example/'] }],
    ['a relative redirect URI', { redirect_uris: ['/callback'] }],
    ['a script as post-logout redirect URI', { ...native, post_logout_redirect_uris: ['javascript:alert(1)'] }],
    ['a script as logo', { logo_uri: 'javascript:alert(1)' }],
    ['a script as policy', { policy_uri: 'javascript:alert(1)' }],
    ['a script as terms', { tos_uri: 'data:text/html,x' }],
    ['a script as home page', { client_uri: 'javascript:alert(1)' }],
    ['a login page over http', { initiate_login_uri: 'http://app.example/' }],
    ['a back-channel logout URI over http', { backchannel_logout_uri: 'http://app.example/' }],
    ['a right-to-left override in the name', { client_name: '\u202eknaB ruoY' }],
    ['a name of several lines', { client_name: 'An app\nVerified by the operator' }],
    ['a zero-width character in the name', { client_name: 'Your\u200b Bank' }],
    ['tag characters in the name', { client_name: 'App\u{e0041}\u{e0042}' }],
    ['a name of nothing that is seen', { client_name: '\u3164' }],
    ['a name whose end is out of sight', { client_name: `App${'\u00a0'.repeat(90)}not verified` }],
    ['a name that covers other lines', { client_name: `App${'\u0323'.repeat(40)}` }],
    ['the name of this server', { client_name: 'Lanyard administration' }],
    ['the name of this server in other letters', { client_name: 'L\u0430ny\u0430rd' }],
    ['the name of an administrator', { client_name: 'Your Administrator' }],
    ['the same in letters that stand alone', { client_name: 'A d m i n' }],
    ['the same in letters of a formula', { client_name: '\u{1d41a}\u{1d41d}\u{1d426}\u{1d422}\u{1d427}' }],
    [
      'a private key',
      { jwks: { keys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })] } },
    ],
    ['a profile that the other members contradict', { security_profile: 'fapi2' }],
    ['an unknown profile', { security_profile: 'none' }],
    ['both sets of keys', { jwks: { keys: [] }, jwks_uri: 'https://app.example/jwks' }],
  ];
  test.each(faults)('%s is refused', async (_name, members) => {
    await expect(register({ ...APP, ...members })).rejects.toThrow(/invalid_client_metadata|invalid_redirect_uri/);
  });

  test('a wildcard in a redirect URI matches itself only', async () => {
    const { clientId } = await register({ ...APP, redirect_uris: ['https://*.app.example/callback'] });
    const url = authorizationUrl(server.issuer, {
      client_id: clientId,
      redirect_uri: 'https://evil.app.example/callback',
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    });
    expect((await createUserAgent(server.issuer).visit(url)).html).toContain('error-page');
  });

  /** The login and the consent page, and that of a login which is another browser's. */
  async function pagesOf(clientId: string) {
    const challenge = { code_challenge: pkcePair().challenge, code_challenge_method: 'S256' };
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(authorizationUrl(server.issuer, { client_id: clientId, ...challenge }));
    const stale = await createUserAgent(server.issuer).visit(login.url);
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    return { stale: stale.html, consent: consent.html };
  }
  const links = {
    ...{ initiate_login_uri: 'https://bank.example/login', client_uri: 'https://bank.example/' },
    ...{ policy_uri: 'https://bank.example/privacy', tos_uri: 'https://bank.example/terms' },
  };

  test('pages of this server do not lead to addresses that nobody has verified', async () => {
    for (const members of [links, { ...links, initiate_login_uri: undefined }]) {
      const { clientId } = await register({ ...APP, ...members });
      const { stale, consent } = await pagesOf(clientId);
      expect(stale).toContain('interaction_not_found');
      expect(stale).toContain('Go back to the app');
      expect(consent).toContain('id="unverified"');
      for (const html of [stale, consent]) expect(html).not.toContain('bank.example');
    }
    const own = await register({ ...APP, policy_uri: 'https://app.example/privacy' });
    expect((await pagesOf(own.clientId)).consent).toContain('href="https://app.example/privacy"');
  });

  test('they do lead to those that an operator has registered', async () => {
    const { clientId } = await server.admin.createClient({ ...CODE_FLOW, ...links });
    const { stale, consent } = await pagesOf(clientId);
    expect(stale).toMatch(/id="restart"[^>]* href="https:\/\/bank.example\/login\?iss=/);
    expect(consent).toContain('href="https://bank.example/privacy"');
  });

  test('a name is escaped on pages', async () => {
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

  test('names in other languages are not shown (RFC 7591 §2.2), so they may be anything', async () => {
    const { body } = await register({ ...APP, 'client_name#de': 'Lanyard\u202e' });
    expect(body).not.toHaveProperty('client_name#de');
  });

  test('names may be in any script', async () => {
    const persian = 'می\u200cخواهم';
    for (const client_name of ['Привет', 'שלום', '天気', 'Café “Zoë”', '👩‍🚀', '❤️', persian, 'Badminton']) {
      expect((await register({ ...APP, client_name })).body.client_name).toBe(client_name);
    }
  });
});
