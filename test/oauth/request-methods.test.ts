// HTTP methods: GET and POST for authorization and logout requests (OpenID Connect Core §3.1.2.1,
// RP-Initiated Logout §2), the documented ones for all other endpoints.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, signInAndAllow, type UserAgent } from '../support/user-agent.ts';

const FROM_THE_APP = { 'sec-fetch-site': 'cross-site', origin: 'https://app.example' };

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient(CODE_FLOW);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

function params(changes: Record<string, string> = {}): Record<string, string> {
  return {
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state: 'a state & more',
    code_challenge_method: 'S256',
    ...changes,
  };
}

function post(
  form: Record<string, string>,
  agent: UserAgent = createUserAgent(server.issuer),
  path = '/oauth2/authorize',
) {
  return agent.submit(path, form, FROM_THE_APP);
}

describe('an authorization request by POST', () => {
  test('leads to the login page, and to tokens', async () => {
    const { verifier, challenge } = pkcePair();
    const agent = createUserAgent(server.issuer);
    const page = await post(params({ code_challenge: challenge }), agent);
    expect(page.html).toContain('id="login-page"');
    const back = await signInAndAllow(agent, page.url, ALICE);
    const answer = await exchange(server, app, { code: back.searchParams.get('code') as string, verifier, back });
    expect(answer.status).toBe(200);
  });

  test('with a session is answered at once, with the state unchanged', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const { leavesTo } = await post(params({ code_challenge: pkcePair().challenge }), agent);
    expect(leavesTo?.searchParams.get('code')).toEqual(expect.any(String));
    expect(leavesTo?.searchParams.get('state')).toBe('a state & more');
  });

  test('is redirected with 303, so that the browser does not repeat the form (RFC 9700 §4.12)', async () => {
    const body = new URLSearchParams(params({ password: 'typed into the wrong form' }));
    const response = await fetch(`${server.issuer}/oauth2/authorize`, { method: 'POST', body, redirect: 'manual' });
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toMatch(/^\/oauth2\/authorize\?client_id=/);
    expect(response.headers.get('location')).not.toContain('password');
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  test('is checked like one by GET: errors go to the app or to the user, and no parameter may repeat', async () => {
    expect((await post(params())).leavesTo?.searchParams.get('error')).toBe('invalid_request'); // no PKCE
    const unregistered = await post(params({ redirect_uri: 'https://evil.example/' }));
    expect([unregistered.status, unregistered.leavesTo]).toEqual([400, undefined]);
    expect(unregistered.html).toContain('id="error-page"');
    const twice = await post(params(), undefined, '/oauth2/authorize?scope=openid+email');
    expect(twice.leavesTo?.searchParams.get('error')).toBe('invalid_request');
  });

  test('that is too long, or not a form, is answered with the error page', async () => {
    const long = await post(params({ login_hint: 'x'.repeat(9_000) }));
    expect([long.status, long.html]).toEqual([413, expect.stringContaining('id="error-page"')]);
    for (const headers of [{ 'content-type': 'application/json' }, { 'content-type': 'text/plain' }]) {
      const page = await createUserAgent(server.issuer).submit('/oauth2/authorize', params(), headers);
      expect([page.status, page.html]).toEqual([400, expect.stringContaining('id="error-page"')]);
    }
  });
});

test('all parameters of a link are accepted in a form', async () => {
  // Each one is refused because of this parameter.
  const faults: [string, string, string][] = [
    ['resource', 'https://unknown.example', 'invalid_target'],
    ['authorization_details', '{', 'invalid_authorization_details'],
    ['claims', '{', 'invalid_request'],
    ['request', 'x', 'invalid_request_object'],
    ['request_uri', 'https://evil.example/', 'request_uri_not_supported'],
    ['registration', '{}', 'registration_not_supported'],
    ['id_token_hint', 'x', 'invalid_request'],
    ['max_age', 'x', 'invalid_request'],
    ['prompt', 'none', 'login_required'],
    ['response_mode', 'unknown', 'unsupported_response_mode'],
  ];
  for (const [name, value, error] of faults) {
    const page = await post(params({ code_challenge: pkcePair().challenge, [name]: value }));
    expect([name, page.leavesTo?.searchParams.get('error')]).toEqual([name, error]);
  }
});

test.each([
  ['GET', '/oauth2/par', 'POST'],
  ['PUT', '/oauth2/par', 'POST'],
  ['GET', '/oauth2/token', 'POST'],
  ['GET', '/oauth2/introspect', 'POST'],
  ['GET', '/oauth2/revoke', 'POST'],
  ['GET', '/oauth2/device_authorization', 'POST'],
  ['DELETE', '/oauth2/authorize', 'GET, POST'],
  ['PUT', '/oauth2/userinfo', 'GET, POST'],
  ['POST', '/oauth2/jwks', 'GET'],
])('%s %s is answered with 405 and Allow (RFC 9126 §2.3)', async (method, path, allowed) => {
  const response = await fetch(`${server.issuer}${path}`, { method });
  expect([response.status, response.headers.get('allow')]).toEqual([405, allowed]);
  expect(await response.json()).toMatchObject({ error: 'invalid_request' });
});

test('no endpoint answers a documented method with 404 or 405', async () => {
  const { METHODS } = await import('../../src/provider/routes.ts');
  for (const [path, methods] of METHODS) {
    for (const method of methods) {
      const { status } = await fetch(`${server.issuer}${path}`, { method, redirect: 'manual' });
      expect([method, path, [404, 405].includes(status)]).toEqual([method, path, false]);
    }
  }
});
