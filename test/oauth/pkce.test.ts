// PKCE, or a nonce in its place (RFC 9700 §2.1.1, §4.5.3): which clients may send what, by every way in which a request comes, and what
// an attacker with the code of a user would gain without either. The rules of PKCE itself are in authorization-request.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { authorizationCodeGrant, buildAuthorizationUrl, type Configuration } from 'openid-client';
import { type Answer, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  honest,
  obtainCode,
  type Params,
  PUBLIC,
  REDIRECT_URI,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, type PageVisit, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const NO_CHALLENGE = { code_challenge: undefined, code_challenge_method: undefined };
const NONCE = { ...NO_CHALLENGE, nonce: 'a nonce' };
const EITHER = 'send a code_challenge with code_challenge_method=S256 (PKCE), or a nonce together with openid in scope';
const CHALLENGE_ONLY = 'send a code_challenge with code_challenge_method=S256 (PKCE): this client must use it';

let server: TestServer;
let documents: DocumentHost;
let signer: Signer;
/** confidential, registered by an operator, with nothing said about PKCE */
let app: TestClient;
let careless: TestClient;
let aliceId: string;

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    const client_id = `https://${documents.host}${request.url}`;
    const metadata = { client_id, ...CODE_FLOW, client_name: 'App', token_endpoint_auth_method: 'private_key_jwt' };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ...metadata, jwks: { keys: [signer.publicJwk] } }));
  });
  server = await startTestServer({
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
    LANYARD_CLIENT_METADATA_HOSTS: documents.host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: documents.host,
  });
  signer = await newSigner('PS256');
  app = await server.admin.createClient({ ...CODE_FLOW, jwks: { keys: [signer.publicJwk] } });
  careless = await server.admin.createClient({ ...CODE_FLOW, require_pkce: false });
  aliceId = await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

function visit(client: TestClient, params: Params): Promise<PageVisit> {
  const url = authorizationUrl(server.issuer, { client_id: client.clientId, ...params });
  return createUserAgent(server.issuer).visit(url);
}

function push(client: TestClient, form: Record<string, string>): Promise<Answer> {
  return postForm(`${server.issuer}/oauth2/par`, client, { client_id: client.clientId, ...form });
}

async function registerOpenly(metadata: Record<string, unknown>): Promise<TestClient> {
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...CODE_FLOW, ...metadata }),
  };
  const { body } = await toAnswer(await fetch(`${server.issuer}/oauth2/register`, init));
  return { clientId: String(body.client_id), clientSecret: String(body.client_secret ?? '') };
}

const stored = async ({ clientId }: TestClient) => (await server.admin.request('GET', `/clients/${clientId}`)).body;
const patch = ({ clientId }: TestClient, members: Record<string, unknown>) =>
  server.admin.request('PATCH', `/clients/${clientId}`, members);

describe('a confidential client that an operator has registered', () => {
  test('signs in with a nonce as openid-client sends it, without PKCE', async () => {
    const configuration = await honest(server, app);
    const url = buildAuthorizationUrl(configuration, { redirect_uri: REDIRECT_URI, scope: 'openid', nonce: 'n-0S6' });
    const back = await signInAndAllow(createUserAgent(server.issuer), url.href, ALICE);
    const tokens = await authorizationCodeGrant(configuration, back, { expectedNonce: 'n-0S6', idTokenExpected: true });
    expect(tokens.claims()).toMatchObject({ nonce: 'n-0S6', azp: app.clientId });
  });

  test('signs in with PKCE and without a nonce, and with both', async () => {
    for (const params of [{}, { nonce: 'a nonce' }]) {
      expect((await exchange(server, app, await obtainCode(server, app, params))).status).toBe(200);
    }
  });

  test.each<[string, Params, string]>([
    ['neither', {}, EITHER],
    ['an empty nonce', { nonce: '' }, EITHER],
    ['a nonce without openid, which no ID token would bring back', { nonce: 'x', scope: 'profile' }, 'openid scope'],
  ])('is told what to send instead of %s: by redirect, and at PAR in JSON', async (_name, params, description) => {
    const { leavesTo } = await visit(app, params);
    expect(leavesTo?.searchParams.get('error')).toBe('invalid_request');
    expect(leavesTo?.searchParams.get('error_description')).toContain(description);
    const form = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', ...params } as Record<
      string,
      string
    >;
    const { status, body } = await push(app, form);
    expect([status, body.error]).toEqual([400, 'invalid_request']);
    expect(body.error_description).toContain(description);
  });

  test('what is outside of the signed request object does not count: anybody could add it (RFC 9101 §6.3)', async () => {
    const inside = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', state: 'a state' };
    const signed = await requestObject(server.issuer, app.clientId, signer, inside);
    const { leavesTo } = await visit(app, { request: signed, nonce: 'a nonce' });
    expect(leavesTo?.searchParams.get('error_description')).toBe(EITHER);
    const pushed = await push(app, { request: signed, nonce: 'a nonce' });
    expect([pushed.status, pushed.body]).toEqual([400, { error: 'invalid_request', error_description: EITHER }]);
    const withNonce = await requestObject(server.issuer, app.clientId, signer, { ...inside, nonce: 'a nonce' });
    expect((await push(app, { request: withNonce })).status).toBe(201);
    expect((await visit(app, { request: withNonce })).html).toContain('id="login-page"');
  });

  test('has no require_pkce of its own; an operator sets it, and null brings the default back', async () => {
    const client = await server.admin.createClient(CODE_FLOW);
    expect(await stored(client)).not.toHaveProperty('require_pkce');
    expect((await patch(client, { require_pkce: true })).status).toBe(200);
    expect((await visit(client, NONCE)).leavesTo?.searchParams.get('error_description')).toBe(CHALLENGE_ONLY);
    // A change of something else leaves it: clients from before there was this default keep true.
    expect((await patch(client, { client_name: 'Renamed' })).body.require_pkce).toBe(true);
    expect((await patch(client, { require_pkce: null })).status).toBe(200);
    expect((await visit(client, NONCE)).html).toContain('id="login-page"');
  });

  test('must use PKCE once it stops to authenticate, or gets a security profile', async () => {
    const client = await server.admin.createClient(CODE_FLOW);
    expect((await patch(client, PUBLIC)).body.require_pkce).toBe(true);
    expect((await patch(careless, PUBLIC)).body).toMatchObject({ status: 400, errors: [{ pointer: '/require_pkce' }] });
    const profile = { security_profile: 'fapi2', token_endpoint_auth_method: 'private_key_jwt' };
    const algorithms = ['id_token', 'authorization', 'introspection'].map((of) => [`${of}_signed_response_alg`, null]);
    const secured = await patch(await server.admin.createClient(CODE_FLOW), {
      ...{ ...profile, ...Object.fromEntries(algorithms) },
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: true,
      jwks: { keys: [signer.publicJwk] },
    });
    expect(secured.body).toMatchObject({ require_pkce: true, ...profile });
  });
});

describe('a nonce is not enough for', () => {
  const kinds: [string, () => Promise<TestClient>][] = [
    ['a public client, whose code anybody can redeem', () => server.admin.createClient({ ...CODE_FLOW, ...PUBLIC })],
    ['a client with require_pkce true', () => server.admin.createClient({ ...CODE_FLOW, require_pkce: true })],
    ['a client that registered itself', () => registerOpenly({})],
    [
      'one that an operator has changed since',
      async () => {
        const client = await registerOpenly({});
        expect((await patch(client, { require_pkce: null, client_name: 'Known' })).body.require_pkce).toBe(true);
        return client;
      },
    ],
    [
      'a client with a metadata document',
      async () => ({ clientId: `https://${documents.host}/a.json`, clientSecret: '' }),
    ],
  ];
  test.each(kinds)('%s', async (_name, create) => {
    const client = await create();
    const { leavesTo } = await visit(client, NONCE);
    expect(leavesTo?.searchParams.get('error')).toBe('invalid_request');
    expect(leavesTo?.searchParams.get('error_description')).toBe(CHALLENGE_ONLY);
    expect((await visit(client, { ...challenge(), nonce: 'a nonce' })).html).toContain('id="login-page"');
  });

  test('a client with a FAPI profile, which pushes its requests', async () => {
    const jwks = { keys: [signer.publicJwk] };
    const client = await server.admin.createClient({ ...CODE_FLOW, security_profile: 'fapi2', jwks });
    const params = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', nonce: 'a nonce' };
    const pushed = async (more: Record<string, string>) =>
      push(
        { ...client, clientSecret: '' },
        { ...params, ...more, ...(await assertion(server.issuer, client.clientId, signer)) },
      );
    expect((await pushed({})).body).toEqual({ error: 'invalid_request', error_description: CHALLENGE_ONLY });
    expect((await pushed(challenge())).status).toBe(201);
  });
});

const challenge = () => ({ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' });

describe('a code_verifier for a code that was requested without a challenge is refused (RFC 9700 §4.8.2)', () => {
  // An attacker who can remove the challenge from the request of an app that uses PKCE would switch PKCE off unnoticed.
  const ways: [string, () => Promise<Params>][] = [
    ['at the authorization endpoint', async () => NONCE],
    [
      'in a pushed request',
      async () => {
        const form = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', nonce: 'a nonce' };
        return { ...NO_CHALLENGE, request_uri: String((await push(app, form)).body.request_uri) };
      },
    ],
    [
      'in a request object',
      async () => {
        const inside = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', nonce: 'a nonce' };
        return { ...NO_CHALLENGE, request: await requestObject(server.issuer, app.clientId, signer, inside) };
      },
    ],
  ];
  test.each(ways)('%s', async (_name, make) => {
    const issued = await obtainCode(server, app, await make());
    // A header that the fast path does not know sends the request to the engine.
    for (const headers of [{}, { 'x-unknown': '1' }]) {
      const refused = await exchange(server, app, issued, {}, headers);
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await exchange(server, app, issued, { code_verifier: undefined })).status).toBe(200);
  });
});

describe('an attacker with the code of a user, who sends it to the callback of the app in a session of his own', () => {
  /** Where the browser of Alice comes back to; the attacker reads it in a log. */
  async function stolen(configuration: Configuration, params: Record<string, string>): Promise<URL> {
    const url = buildAuthorizationUrl(configuration, { redirect_uri: REDIRECT_URI, scope: 'openid', ...params });
    return signInAndAllow(createUserAgent(server.issuer), url.href, ALICE);
  }

  test('is signed in as her, if the app uses neither PKCE nor a nonce', async () => {
    const configuration = await honest(server, careless);
    const tokens = await authorizationCodeGrant(configuration, await stolen(configuration, {}), {
      idTokenExpected: true,
    });
    expect(tokens.claims()?.sub).toBe(aliceId);
  });

  test('gets nowhere with PKCE: the session of the attacker has another verifier', async () => {
    const configuration = await honest(server, app);
    const back = await stolen(configuration, challenge());
    const checks = { pkceCodeVerifier: pkcePair().verifier, idTokenExpected: true };
    await expect(authorizationCodeGrant(configuration, back, checks)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('gets nowhere with a nonce: the session of the attacker has another one than the ID token', async () => {
    const configuration = await honest(server, app);
    const back = await stolen(configuration, { nonce: 'of Alice' });
    const checks = { expectedNonce: 'of the attacker', idTokenExpected: true };
    const refusal = await authorizationCodeGrant(configuration, back, checks).catch((error: Error) => error);
    const { cause } = (refusal as Error).cause as Error;
    expect(cause).toMatchObject({ claim: 'nonce', expected: 'of the attacker' });
  });

  test('and a client without require_pkce false cannot send a request of the first kind', async () => {
    const { leavesTo } = await visit(app, NO_CHALLENGE);
    expect(leavesTo?.searchParams.get('error_description')).toBe(EITHER);
  });
});
