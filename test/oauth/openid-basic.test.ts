// An OpenID Connect client without PKCE, with a secret and RS256: the requests of the Basic OP plan
// of the OpenID Foundation (oidcc-basic-certification-test-plan) that no other file has.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { type Answer, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  obtainCode,
  obtainTokens,
  type Params,
  REDIRECT_URI,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { untilSecond } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, formAction } from '../support/user-agent.ts';

const WITHOUT_PKCE = { code_challenge: undefined, code_challenge_method: undefined };
const CLAIMS = {
  name: 'Alice',
  given_name: 'Alice',
  birthdate: '1990-01-31',
  email_verified: true,
  phone_number: '+49 30 123456',
  phone_number_verified: false,
  address: { formatted: 'Berlin', country: 'DE' },
};

let server: TestServer;
let app: TestClient;
let signer: Signer;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner('RS256');
  app = await register();
  await server.admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com', claims: CLAIMS });
});
afterAll(() => server.stop());

function register(members: Record<string, unknown> = {}): Promise<TestClient> {
  return server.admin.createClient({
    ...CODE_FLOW,
    require_pkce: false,
    id_token_signed_response_alg: 'RS256',
    jwks: { keys: [signer.publicJwk] },
    ...members,
  });
}

/** Sends a request of this client, signs in, and redeems the code. */
async function tokens(params: Params = {}, options: Parameters<typeof obtainCode>[3] = {}) {
  const issued = await obtainCode(server, app, { ...WITHOUT_PKCE, ...params }, options);
  return toTokens(await exchange(server, app, issued, { code_verifier: undefined }));
}

test('the ID token is signed with a published RS256 key, for the client, with the nonce; without nonce there is none', async () => {
  const { idToken } = await tokens({ nonce: 'a nonce' });
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
  const expected = { issuer: server.issuer, audience: app.clientId, algorithms: ['RS256'] };
  const { payload, protectedHeader } = await jwtVerify(idToken, keys, expected);
  expect(payload).toMatchObject({ nonce: 'a nonce', azp: app.clientId, sub: expect.any(String) });
  expect(protectedHeader.kid).toEqual(expect.any(String));
  expect(decodeJwt((await tokens()).idToken)).not.toHaveProperty('nonce');
});

test('client_secret_post works for the client that is registered with it', async () => {
  const posting = await register({ token_endpoint_auth_method: 'client_secret_post' });
  const { code } = await obtainCode(server, posting, WITHOUT_PKCE);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI };
  const answer = await requestToken(
    server.issuer,
    { clientId: posting.clientId, clientSecret: '' },
    { ...form, client_secret: posting.clientSecret },
  );
  expect(answer.status).toBe(200);
});

test('userinfo reads the token from the header and from a form, and never from the query string', async () => {
  const { accessToken, idToken } = await tokens();
  const ask = (init: RequestInit, query = ''): Promise<Answer> =>
    fetch(`${server.issuer}/oauth2/userinfo${query}`, init).then(toAnswer);
  const headers = { authorization: `Bearer ${accessToken}` };
  const body = new URLSearchParams({ access_token: accessToken });
  for (const init of [{ headers }, { method: 'POST', headers }, { method: 'POST', body }]) {
    expect((await ask(init)).body).toEqual({ sub: decodeJwt(idToken).sub });
  }
  expect((await ask({}, `?${body}`)).status).toBe(400);
});

test('all scopes return all claims, in any order of the scopes', async () => {
  for (const scope of ['openid profile email address phone', 'phone address email profile openid']) {
    const { body } = await userinfo(server, (await tokens({ scope })).accessToken);
    expect(body).toMatchObject({ ...CLAIMS, email: 'alice@example.com', preferred_username: 'alice' });
  }
});

test('an essential claim is returned', async () => {
  const claims = JSON.stringify({ userinfo: { name: { essential: true } } });
  const { accessToken } = await tokens({ claims });
  expect((await userinfo(server, accessToken)).body).toMatchObject({ name: 'Alice' });
});

describe('a request is not refused for', () => {
  test.each<[string, Params]>([
    ['display=page', { display: 'page' }],
    ['display=popup', { display: 'popup' }],
    ['ui_locales', { ui_locales: 'se' }],
    ['claims_locales', { claims_locales: 'se' }],
    ['acr_values', { acr_values: '1 2' }],
    ['login_hint', { login_hint: 'buffy@example.com' }],
    ['an unknown parameter', { extra: 'foobar' }],
    ['an unknown scope', { scope: 'openid unknown' }],
  ])('%s', async (_name, params) => {
    expect((await tokens(params)).idToken).toEqual(expect.any(String));
  });
});

test('without response_type: an error for the app', async () => {
  const url = authorizationUrl(server.issuer, { client_id: app.clientId, response_type: undefined });
  const { leavesTo } = await createUserAgent(server.issuer).visit(url);
  expect(leavesTo?.searchParams.get('error')).toBe('invalid_request');
  expect(leavesTo?.searchParams.get('state')).toBe('a state');
});

describe('a second request in the same browser', () => {
  test('max_age=1 and prompt=login have the user sign in again, and auth_time says so; max_age=10000 has not', async () => {
    const agent = createUserAgent(server.issuer);
    const authTime = ({ idToken }: { idToken: string }) => Number(decodeJwt(idToken).auth_time);
    const first = authTime(await tokens({}, { agent }));
    await untilSecond(first + 2);
    expect(authTime(await tokens({ max_age: '10000' }, { agent }))).toBe(first);
    const second = authTime(await tokens({ max_age: '1' }, { agent }));
    expect(second).toBeGreaterThan(first);
    await untilSecond(second + 1);
    expect(authTime(await tokens({ prompt: 'login' }, { agent }))).toBeGreaterThan(second);
  });

  test('prompt=none, with an id_token_hint too, returns a code with a session, and login_required without', async () => {
    const agent = createUserAgent(server.issuer);
    const { idToken } = await tokens({}, { agent });
    for (const params of [{ prompt: 'none' }, { prompt: 'none', id_token_hint: idToken }]) {
      const url = authorizationUrl(server.issuer, { client_id: app.clientId, ...params });
      expect((await agent.visit(url)).leavesTo?.searchParams.get('code')).toEqual(expect.any(String));
      const { leavesTo } = await createUserAgent(server.issuer).visit(url);
      expect(leavesTo?.searchParams.get('error')).toBe('login_required');
    }
  });

  test('login_required is returned by the response_mode of the request', async () => {
    const ask = async (response_mode: string) =>
      createUserAgent(server.issuer).visit(
        authorizationUrl(server.issuer, { client_id: app.clientId, prompt: 'none', response_mode }),
      );
    expect((await ask('fragment')).leavesTo?.hash).toContain('error=login_required');
    const { html } = await ask('form_post');
    expect(html).toContain(`action="${REDIRECT_URI}"`);
    expect(html).toMatch(/name="error" value="login_required"/);
  });
});

test('the redirect_uri of a request object is used', async () => {
  const params = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', state: 'inside' };
  const query = new URLSearchParams({
    client_id: app.clientId,
    response_type: 'code',
    scope: 'openid',
    redirect_uri: 'https://evil.example/callback',
    request: await requestObject(server.issuer, app.clientId, signer, params),
  });
  const agent = createUserAgent(server.issuer);
  const login = await agent.visit(`${server.issuer}/oauth2/authorize?${query}`);
  const { leavesTo } = await agent.submit(formAction(login.html, 'cancel'), {});
  expect(`${leavesTo?.origin}${leavesTo?.pathname}`).toBe(REDIRECT_URI);
  expect(leavesTo?.searchParams.get('state')).toBe('inside');
});

test('a refresh returns an ID token of the same sign-in, for its client only', async () => {
  const { refreshToken, idToken } = await tokens({ scope: 'openid offline_access', prompt: 'consent' });
  const { iss, sub, aud, auth_time } = decodeJwt(idToken);
  const answer = await refresh(server, app, refreshToken);
  expect(decodeJwt(answer.body.id_token as string)).toMatchObject({ iss, sub, aud, auth_time });
  expect((await refresh(server, await register(), refreshToken)).body.error).toBe('invalid_grant');
});

test('a second use of a code is refused, and revokes its tokens', async () => {
  const issued = await obtainCode(server, app, WITHOUT_PKCE);
  const { accessToken } = toTokens(await exchange(server, app, issued, { code_verifier: undefined }));
  expect((await userinfo(server, accessToken)).status).toBe(200);
  expect((await exchange(server, app, issued, { code_verifier: undefined })).body.error).toBe('invalid_grant');
  expect((await userinfo(server, accessToken)).status).toBe(401);
});

test('a request with PKCE', async () => {
  expect((await obtainTokens(server, app)).idToken).toEqual(expect.any(String));
});
