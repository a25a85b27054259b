// The authorization endpoint: which errors go to the app by redirect, and which are shown to the
// user only (RFC 6749 §4.1.2.1, RFC 9700 §2.1).

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  obtainCode,
  type Params,
  PUBLIC,
  REDIRECT_URI,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;
let publicApp: TestClient;
let withoutPkce: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient(CODE_FLOW);
  publicApp = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  withoutPkce = await server.admin.createClient({ ...CODE_FLOW, require_pkce: false });
});
afterAll(() => server.stop());

const pkce = () => ({ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' });

function request(params: Params, agent = createUserAgent(server.issuer)) {
  return agent.visit(authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce(), ...params }));
}

/** The request is refused with a redirect to the registered redirect_uri. */
async function expectToldToApp(params: Params, error: string): Promise<void> {
  const page = await request(params);
  const answer = page.leavesTo ?? new URL('nothing:');
  expect(`${answer.origin}${answer.pathname}`).toBe(REDIRECT_URI);
  expect(answer.searchParams.get('error')).toBe(error);
  expect(answer.searchParams.get('state')).toBe('a state');
  expect(answer.searchParams.get('iss')).toBe(server.issuer); // RFC 9207 §2: in error responses too
  expect(answer.searchParams.has('code')).toBe(false);
  expect(answer.hash).toBe('');
}

/** The request is refused on an error page, without a redirect to an unregistered URI. */
async function expectErrorPage(params: Params): Promise<void> {
  const page = await request(params);
  expect(page.leavesTo).toBeUndefined();
  expect(page.status).toBe(400);
  expect(page.html).toContain('id="error-page"');
}

describe('PKCE (RFC 9700 §2.1.1)', () => {
  const missing = { code_challenge: undefined, code_challenge_method: undefined };

  test('is required of confidential and public clients', async () => {
    await expectToldToApp(missing, 'invalid_request');
    await expectToldToApp({ ...missing, client_id: publicApp.clientId }, 'invalid_request');
  });

  test('plain shows the verifier to anyone who reads the request: refused, explicit or by default', async () => {
    const { verifier } = pkcePair();
    for (const code_challenge_method of ['plain', undefined, 's256', 'S512', '']) {
      await expectToldToApp({ code_challenge: verifier, code_challenge_method }, 'invalid_request');
    }
  });

  test('a malformed challenge is refused', async () => {
    for (const code_challenge of ['short', 'x'.repeat(200), `${'x'.repeat(42)}!`]) {
      await expectToldToApp({ code_challenge }, 'invalid_request');
    }
  });

  test('a confidential client that was registered with require_pkce false need not use it', async () => {
    const issued = await obtainCode(server, withoutPkce, missing);
    expect((await exchange(server, withoutPkce, issued, { code_verifier: undefined })).status).toBe(200);
  });

  test('but if it uses PKCE, a stolen code is refused without its verifier (RFC 9700 §4.8.2)', async () => {
    const issued = await obtainCode(server, withoutPkce);
    expect((await exchange(server, withoutPkce, issued, { code_verifier: undefined })).status).toBe(400);
  });

  test('a verifier for a code that was requested without a challenge is refused (RFC 9700 §4.8.2)', async () => {
    const issued = await obtainCode(server, withoutPkce, missing);
    expect((await exchange(server, withoutPkce, issued)).status).toBe(400);
  });

  test('a public client cannot be registered without PKCE', async () => {
    const answer = await server.admin.request('POST', '/clients', { ...CODE_FLOW, ...PUBLIC, require_pkce: false });
    expect([answer.status, answer.body.code]).toEqual([400, 'validation_failed']);
  });
});

describe('only response_type=code (RFC 9700 §2.1.2)', () => {
  test.each(['token', 'id_token', 'code id_token', 'code token', 'id_token token', 'none', 'unknown'])(
    '%s is refused, and no token is in the response',
    async (response_type) => {
      const page = await request({ response_type, nonce: 'a nonce' });
      const refusal = page.leavesTo?.href ?? page.html;
      expect(refusal).toMatch(/unsupported_response_type|unauthorized_client|invalid_request/);
      expect(refusal).not.toMatch(/access_token=|id_token=|[?&#]code=/);
    },
  );

  test('a client cannot be registered for another one', async () => {
    const answer = await server.admin.request('POST', '/clients', {
      ...CODE_FLOW,
      grant_types: ['implicit', 'authorization_code'],
      response_types: ['id_token token', 'code'],
    });
    expect(answer.status).toBe(400);
  });
});

describe('redirect_uri is compared exactly (RFC 9700 §2.1): no code is sent to an unregistered URI', () => {
  test.each([
    'https://evil.example/callback',
    `${REDIRECT_URI}/`,
    `${REDIRECT_URI}?next=https://evil.example`,
    `${REDIRECT_URI}#x`,
    'http://app.example/callback',
    'https://app.example:8443/callback',
    'https://app.example/Callback',
    'https://app.example/callback/../evil',
    'https://app.example/%63allback',
    'https://app.example@evil.example/callback',
    'https://user@app.example/callback',
    'javascript:alert(1)',
    'data:text/html,x',
    '//evil.example',
    '/callback',
    '',
    `${REDIRECT_URI}\0`,
  ])('%s', async (redirect_uri) => {
    await expectErrorPage({ redirect_uri });
  });

  test('without one', async () => {
    await expectErrorPage({ redirect_uri: undefined });
  });

  test('of an unknown client, no client, a disabled client', async () => {
    const disabled = await server.admin.createClient(CODE_FLOW);
    await server.admin.request('POST', `/clients/${disabled.clientId}/disable`);
    for (const client_id of ['unknown', undefined, '', 'a\0b', disabled.clientId]) await expectErrorPage({ client_id });
  });

  test('the error page escapes what the request contains', async () => {
    const page = await request({ client_id: '<script>alert(1)</script>', state: '"><script>alert(2)</script>' });
    expect(page.html).not.toContain('<script');
  });
});

describe('other requests that are refused', () => {
  test('an API that the client may not call: an error for the app', async () => {
    await expectToldToApp({ resource: 'https://unknown.example' }, 'invalid_target');
    await expectToldToApp({ resource: `${server.issuer}/admin` }, 'invalid_target');
  });

  test('a request object without a signature, and one by reference to another server', async () => {
    await expectToldToApp({ request: 'e30.e30.' }, 'invalid_request_object');
    await expectToldToApp({ request_uri: 'https://evil.example/request' }, 'request_uri_not_supported');
  });

  test('a parameter that occurs twice (RFC 6749 §3.1)', async () => {
    const url = authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce() });
    for (const name of ['state', 'scope', 'code_challenge', 'client_id', 'redirect_uri']) {
      const page = await createUserAgent(server.issuer).visit(`${url}&${name}=another`);
      expect(page.leavesTo?.searchParams.get('error') ?? page.status).toEqual(
        page.leavesTo === undefined ? 400 : 'invalid_request',
      );
    }
  });

  test('a response_mode that would put the code elsewhere', async () => {
    const page = await request({ response_mode: 'unknown' });
    expect(page.leavesTo?.searchParams.get('error') ?? page.status).not.toBe(200);
    const { html, leavesTo } = await request({ response_mode: 'fragment', prompt: 'none' });
    expect(`${leavesTo?.href}${html}`).not.toMatch(/[?&#]code=/);
  });
});
