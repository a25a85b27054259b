// Pushed authorization requests (RFC 9126) and request objects (RFC 9101): neither the user nor
// another party between app and server can change a request.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  authorizationCodeGrant,
  buildAuthorizationUrlWithPAR,
  calculatePKCECodeChallenge,
  randomPKCECodeVerifier,
} from 'openid-client';
import { type Answer, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { ALICE, authorizationUrl, CODE_FLOW, exchange, honest, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, inSeconds, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, type PageVisit, pkcePair, signInAndAllow } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;
let strict: TestClient;
let signing: TestClient;
let signer: Signer;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner('PS256');
  app = await server.admin.createClient({ ...CODE_FLOW });
  strict = await server.admin.createClient({ ...CODE_FLOW, require_pushed_authorization_requests: true });
  signing = await server.admin.createClient({
    ...CODE_FLOW,
    require_signed_request_object: true,
    jwks: { keys: [signer.publicJwk] },
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

function params(changes: Record<string, string> = {}): Record<string, string> {
  return {
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state: 'a state',
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    ...changes,
  };
}

/** RFC 9126 §2.1: `client_id` is required with every authentication method. */
function push(client: TestClient, form: Record<string, string>): Promise<Answer> {
  return postForm(`${server.issuer}/oauth2/par`, client, { client_id: client.clientId, ...form });
}

function open(client: TestClient, query: Record<string, string>): Promise<PageVisit> {
  const search = new URLSearchParams({ client_id: client.clientId, ...query });
  return createUserAgent(server.issuer).visit(`${server.issuer}/oauth2/authorize?${search}`);
}

function errorOf(page: PageVisit): string | undefined {
  return page.leavesTo?.searchParams.get('error') ?? /id="error-code"[^>]*>([^<]*)/.exec(page.html)?.[1];
}

describe('pushed authorization requests', () => {
  test('openid-client pushes, signs in and exchanges', async () => {
    const configuration = await honest(server, strict);
    const verifier = randomPKCECodeVerifier();
    const code_challenge = await calculatePKCECodeChallenge(verifier);
    const url = await buildAuthorizationUrlWithPAR(configuration, params({ code_challenge }));
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
    const back = await signInAndAllow(createUserAgent(server.issuer), url.href, ALICE);
    const tokens = await authorizationCodeGrant(configuration, back, {
      pkceCodeVerifier: verifier,
      expectedState: 'a state',
    });
    expect(tokens.claims()).toMatchObject({ azp: strict.clientId, aud: strict.clientId });
  });

  test('the response is 201 with a request_uri for a minute at most (RFC 9126 §2.2)', async () => {
    const { status, body, headers } = await push(app, params());
    expect(status).toBe(201);
    expect(body).toEqual({
      request_uri: expect.stringMatching(/^urn:ietf:params:oauth:request_uri:./),
      expires_in: 60,
    });
    expect(headers.get('cache-control')).toBe('no-store');
  });

  test('a request_uri leads to one code: a second use of the link is refused (RFC 9126 §7.3)', async () => {
    const { body } = await push(app, params());
    const request = { request_uri: String(body.request_uri) };
    const link = `${server.issuer}/oauth2/authorize?${new URLSearchParams({ client_id: app.clientId, ...request })}`;
    const first = await signInAndAllow(createUserAgent(server.issuer), link, ALICE);
    expect(first.searchParams.get('code')).not.toBeNull();
    const again = await createUserAgent(server.issuer).visit(link);
    expect(again.html).toContain('id="error-page"');
    expect(again.html).not.toContain('code=');
  });

  test('two browsers with the same pushed request: one of them gets a code', async () => {
    const { body } = await push(app, params());
    const query = new URLSearchParams({ client_id: app.clientId, request_uri: String(body.request_uri) });
    const link = `${server.issuer}/oauth2/authorize?${query}`;
    const outcomes = await Promise.allSettled(
      [1, 2, 3, 4].map(() => signInAndAllow(createUserAgent(server.issuer), link, ALICE)),
    );
    const codes = outcomes.filter((each) => each.status === 'fulfilled' && each.value.searchParams.has('code'));
    expect(codes).toHaveLength(1);
    expect(server.logLines.filter((line) => line.includes('the engine failed'))).toEqual([]);
  });

  test('a request_uri is refused for another client, which learns nothing about it (RFC 9126 §2.2)', async () => {
    const { body } = await push(app, params({ state: 'of the one' }));
    const request = { request_uri: String(body.request_uri) };
    const page = await open(strict, request);
    expect([page.leavesTo, page.html]).toEqual([undefined, expect.stringContaining('id="error-page"')]);
    const refusal = await open(strict, { ...request, redirect_uri: REDIRECT_URI, state: 'of the other' });
    expect(errorOf(refusal)).toBe('invalid_request_uri');
    expect(refusal.leavesTo?.searchParams.get('state')).toBe('of the other');
    expect((await open(app, request)).html).toContain('id="login-page"');
  });

  test('an invented request_uri, and one of another server, lead to the error page', async () => {
    for (const request_uri of ['urn:ietf:params:oauth:request_uri:invented', 'https://evil.example/request.jwt']) {
      const page = await open(app, { request_uri });
      expect(page.html).toContain('id="error-page"');
    }
  });

  test('a client that must push gets no login page without a pushed request', async () => {
    const { challenge } = pkcePair();
    const url = authorizationUrl(server.issuer, {
      client_id: strict.clientId,
      code_challenge: challenge,
      code_challenge_method: 'S256',
    });
    const page = await createUserAgent(server.issuer).visit(url);
    expect(errorOf(page)).toBe('invalid_request');
    expect(page.html).not.toContain('id="login-page"');
  });

  test('other parameters beside the request_uri are ignored', async () => {
    const { body } = await push(app, params({ scope: 'openid' }));
    const page = await open(app, {
      request_uri: String(body.request_uri),
      redirect_uri: 'https://evil.example/',
      scope: 'openid email',
    });
    expect(page.html).toContain('id="login-page"');
    const { rows } = await server.sql.query(
      `SELECT payload::text AS text FROM oidc_artifacts WHERE model = 'Interaction'`,
    );
    expect(rows.map(({ text }) => text).join()).not.toContain('evil.example');
  });

  const faults: [string, Record<string, string>, string][] = [
    ['a redirect URI that is not registered', { redirect_uri: 'https://evil.example/' }, 'invalid_request'],
    ['no PKCE', { code_challenge: '', code_challenge_method: '' }, 'invalid_request'],
    ['an unknown response type', { response_type: 'token' }, 'unsupported_response_type'],
    [
      'a request_uri in it (RFC 9126 §2.1)',
      { request_uri: 'urn:ietf:params:oauth:request_uri:x' },
      'request_uri_not_supported',
    ],
    ['a resource it may not call', { resource: 'https://unknown.example' }, 'invalid_target'],
  ];
  test.each(faults)('a pushed request with %s is refused at the push', async (_name, changes, error) => {
    const { status, body } = await push(app, params(changes));
    expect([status, body.error]).toEqual([400, error]);
  });

  test('a request without the credentials of the client is refused', async () => {
    const wrong = await push({ ...app, clientSecret: 'wrong' }, params());
    expect([wrong.status, wrong.body.error]).toEqual([401, 'invalid_client']);
    expect(wrong.headers.get('www-authenticate')).toMatch(/^Basic /);
    const other = await push(app, params({ client_id: strict.clientId }));
    expect(other.status).toBe(400);
  });

  test('a stale page redirects to the app with an error, without the pushed parameters', async () => {
    const initiate_login_uri = 'https://app.example/login?tenant=a';
    const client = await server.admin.createClient({ ...CODE_FLOW, initiate_login_uri });
    const agent = createUserAgent(server.issuer);
    const { body } = await push(client, params({ login_hint: 'hinted-user@secret.example' }));
    const query = new URLSearchParams({ client_id: client.clientId, request_uri: String(body.request_uri) });
    await signInAndAllow(agent, `${server.issuer}/oauth2/authorize?${query}`, ALICE);
    const again = await push(client, params({ prompt: 'login', login_hint: 'hinted-user@secret.example' }));
    query.set('request_uri', String(again.body.request_uri));
    const page = await agent.visit(`${server.issuer}/oauth2/authorize?${query}`);
    expect(page.html).toContain('id="login-page"');
    await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Session'`);
    const stale = await agent.visit(page.url);
    expect(stale.html).toContain('interaction_not_found');
    expect(stale.html).not.toContain('secret.example');
    expect(stale.html).toContain(`href="${initiate_login_uri}&amp;iss=${encodeURIComponent(server.issuer)}"`);
  });

  test('a public client may push too', async () => {
    const open = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    expect((await push(open, params())).status).toBe(201);
  });

  test('a copy of the database does not contain the pushed parameters', async () => {
    await push(app, params({ login_hint: 'hinted-user@secret.example' }));
    const { rows } = await server.sql.query(
      `SELECT payload::text AS text FROM oidc_artifacts WHERE model = 'PushedAuthorizationRequest'`,
    );
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map(({ text }) => text).join()).not.toMatch(/hinted-user|request_uri|redirect_uri/);
  });
});

describe('request objects', () => {
  function signed(changes: Parameters<typeof requestObject>[4] = {}, extra: Record<string, string> = {}) {
    return requestObject(server.issuer, signing.clientId, signer, params(extra), changes);
  }

  test('a signed request leads to the login page and to tokens', async () => {
    const { verifier, challenge } = pkcePair();
    const request = await signed({}, { code_challenge: challenge });
    const link = `${server.issuer}/oauth2/authorize?${new URLSearchParams({ client_id: signing.clientId, request })}`;
    const back = await signInAndAllow(createUserAgent(server.issuer), link, ALICE);
    const answer = await exchange(server, signing, { code: back.searchParams.get('code') as string, verifier, back });
    expect(answer.status).toBe(200);
  });

  test('a client that is named by its assertion alone is told what is wrong (RFC 9126 §2.3, §3)', async () => {
    const asserting = await server.admin.createClient({
      ...CODE_FLOW,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [signer.publicJwk] },
    });
    const { clientId } = asserting;
    async function pushAlone(form: Record<string, string>, at = 'par') {
      const body = new URLSearchParams({ ...(await assertion(server.issuer, clientId, signer)), ...form });
      return toAnswer(await fetch(`${server.issuer}/oauth2/${at}`, { method: 'POST', body }));
    }
    const object = (changes = {}) => requestObject(server.issuer, clientId, signer, params(), changes);
    const good = await pushAlone({ request: await object() });
    expect([good.status, good.body]).toEqual([201, { expires_in: 60, request_uri: expect.any(String) }]);

    for (const changes of [{ claims: { exp: inSeconds(-60) } }, { claims: { aud: 'https://other.example' } }]) {
      const refused = await pushAlone({ request: await object(changes) });
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request_object']);
      expect(refused.headers.get('www-authenticate')).toBeNull();
    }
    const plain = await pushAlone(params());
    expect([plain.status, plain.body]).toEqual([
      400,
      { error: 'invalid_request', error_description: "missing required parameter 'client_id'" },
    ]);
    // Where no client is named, that is what is wrong.
    const nobody = await postForm(`${server.issuer}/oauth2/par`, undefined, params());
    expect([nobody.status, nobody.body.error]).toEqual([401, 'invalid_client']);
    const device = await pushAlone({ scope: 'openid' }, 'device_authorization');
    expect([device.status, device.body.error]).toEqual([400, 'unauthorized_client']);
  });

  test('a client with require_signed_request_object is refused without one', async () => {
    const page = await open(signing, params());
    expect(errorOf(page)).toBe('invalid_request');
  });

  test('it can be pushed', async () => {
    expect((await push(signing, { request: await signed() })).status).toBe(201);
  });

  const faults: [string, () => Promise<string>][] = [
    [
      'signed by another key',
      async () => requestObject(server.issuer, signing.clientId, await newSigner('PS256'), params()),
    ],
    ['for another server', () => signed({ claims: { aud: 'https://other.example' } })],
    ['of another client', () => signed({ claims: { client_id: app.clientId } })],
    ['by another issuer', () => signed({ claims: { iss: app.clientId } })],
    ['that has expired', () => signed({ claims: { exp: inSeconds(-60) } })],
    ['that is not valid yet', () => signed({ claims: { nbf: inSeconds(600) } })],
    ['with the type of a client assertion', () => signed({ header: { typ: 'client-authentication+jwt' } })],
    ['with another request object in it', () => signed({ claims: { request: 'x' } })],
    [
      'that was changed after it was signed',
      async () => {
        const [header, , signature] = (await signed()).split('.');
        const payload = {
          ...params(),
          client_id: signing.clientId,
          iss: signing.clientId,
          aud: server.issuer,
          scope: 'openid email',
        };
        return `${header}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.${signature}`;
      },
    ],
    [
      'without a signature',
      async () => {
        const payload = { ...params(), client_id: signing.clientId, iss: signing.clientId, aud: server.issuer };
        const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
        return `${encode({ alg: 'none' })}.${encode(payload)}.`;
      },
    ],
  ];
  test.each(faults)('a request object %s is refused, and no login page is shown', async (_name, make) => {
    const page = await open(signing, { request: await make() });
    expect(page.html).not.toContain('id="login-page"');
    expect(errorOf(page) ?? page.html).toMatch(/invalid_request_object|error-page/);
    expect(page.leavesTo?.searchParams.get('code') ?? null).toBeNull();
  });
});
