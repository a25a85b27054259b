// FAPI 2.0 clients (`security_profile`): the server enforces the profile at registration and at
// every request, and ordinary clients are not affected. The honest client is openid-client.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import {
  authorizationCodeGrant,
  buildAuthorizationUrlWithJAR,
  buildAuthorizationUrlWithPAR,
  calculatePKCECodeChallenge,
  getDPoPHandle,
  modifyAssertion,
  PrivateKeyJwt,
  randomDPoPKeyPair,
  randomPKCECodeVerifier,
  refreshTokenGrant,
  useJwtResponseMode,
} from 'openid-client';
import { introspect, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  honest,
  obtainCode,
  REDIRECT_URI,
  toTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, inSeconds, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';

let server: TestServer;
let signer: Signer;
let dpopKey: Signer;
let app: TestClient;
let signing: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner('PS256');
  dpopKey = await newSigner('ES256');
  await server.admin.createApi(ORDERS, { scopes: ['read'] });
  app = await register({ security_profile: 'fapi2' });
  signing = await register({ security_profile: 'fapi2-message-signing' });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

async function register(members: Record<string, unknown>): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, jwks: { keys: [signer.publicJwk] }, ...members });
  await server.admin.allow(client.clientId, ORDERS, ['read']);
  return client;
}

type Form = Record<string, string>;

async function post(path: string, form: Form, headers: Form = {}) {
  return toAnswer(await fetch(`${server.issuer}${path}`, { method: 'POST', headers, body: new URLSearchParams(form) }));
}

function params(changes: Form = {}): Form {
  return {
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid read offline_access',
    prompt: 'consent',
    resource: ORDERS,
    state: 'a state',
    ...changes,
  };
}

/** A valid pushed request of this client, except for the changes. */
async function push(form: Form, authentication?: Form) {
  const proven = authentication ?? (await assertion(server.issuer, app.clientId, signer));
  return post('/oauth2/par', { client_id: app.clientId, ...form, ...proven });
}

async function obtainFapiCode(): Promise<{ code: string; verifier: string }> {
  const { verifier, challenge } = pkcePair();
  const { body } = await push(params({ code_challenge: challenge, code_challenge_method: 'S256' }));
  const query = new URLSearchParams({ client_id: app.clientId, request_uri: String(body.request_uri) });
  const back = await signInAndAllow(
    createUserAgent(server.issuer),
    `${server.issuer}/oauth2/authorize?${query}`,
    ALICE,
  );
  return { code: back.searchParams.get('code') as string, verifier };
}

async function tokenRequest(form: Form, options: { authentication?: Form; proof?: string | undefined } = {}) {
  const proof = 'proof' in options ? options.proof : await proofFor(dpopKey);
  const authentication = options.authentication ?? (await assertion(server.issuer, app.clientId, signer));
  return post('/oauth2/token', { ...form, ...authentication }, proof === undefined ? {} : { dpop: proof });
}

function proofFor(key: Signer): Promise<string> {
  return dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
}

function codeForm({ code, verifier }: { code: string; verifier: string }): Form {
  return { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
}

describe('the honest app', () => {
  test('pushes, signs in, gets bound tokens that name it, and refreshes', async () => {
    const configuration = await honest(server, app, PrivateKeyJwt({ key: signer.privateKey, kid: signer.thumbprint }));
    const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    const verifier = randomPKCECodeVerifier();
    const url = await buildAuthorizationUrlWithPAR(
      configuration,
      params({ code_challenge: await calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
      { DPoP },
    );
    const back = await signInAndAllow(createUserAgent(server.issuer), url.href, ALICE);
    expect(back.searchParams.get('iss')).toBe(server.issuer);
    const checks = { pkceCodeVerifier: verifier, expectedState: 'a state' };
    const tokens = await authorizationCodeGrant(configuration, back, checks, undefined, { DPoP });
    expect(tokens.token_type).toBe('dpop');
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      client_id: app.clientId,
      azp: app.clientId,
      cnf: { jkt: expect.any(String) },
    });
    expect(decodeProtectedHeader(tokens.id_token as string).alg).toBe('ES256');
    // FAPI 2.0 §5.3.2.1: no rotation; the old refresh token stays valid, also with a new DPoP key.
    const another = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    for (const handle of [DPoP, another, DPoP]) {
      const refreshed = await refreshTokenGrant(configuration, tokens.refresh_token as string, undefined, {
        DPoP: handle,
      });
      expect(refreshed.refresh_token ?? tokens.refresh_token).toBe(tokens.refresh_token);
      expect(refreshed.token_type).toBe('dpop');
    }
  });

  test('with message signing: request objects and JARM', async () => {
    const configuration = await honest(
      server,
      signing,
      PrivateKeyJwt({ key: signer.privateKey, kid: signer.thumbprint }),
    );
    useJwtResponseMode(configuration);
    const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    const verifier = randomPKCECodeVerifier();
    const signed = await buildAuthorizationUrlWithJAR(
      configuration,
      params({
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        response_mode: 'jwt',
      }),
      { key: signer.privateKey, kid: signer.thumbprint },
      {
        [modifyAssertion](_header, payload) {
          payload.nbf = inSeconds();
        },
      },
    );
    const url = await buildAuthorizationUrlWithPAR(configuration, signed.searchParams, { DPoP });
    const back = await signInAndAllow(createUserAgent(server.issuer), url.href, ALICE);
    expect([...back.searchParams.keys()]).toEqual(['response']);
    const checks = { pkceCodeVerifier: verifier, expectedState: 'a state' };
    const tokens = await authorizationCodeGrant(configuration, back, checks, undefined, { DPoP });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ azp: signing.clientId });
  });

  test('the code lives for 60 seconds at most', async () => {
    await obtainFapiCode();
    const { rows } = await server.sql.query(
      `SELECT max(extract(epoch FROM expires_at - issued_at))::int AS seconds FROM oidc_artifacts
       WHERE model = 'AuthorizationCode' AND client_id = $1`,
      [app.clientId],
    );
    // Issued and expiring are two readings of a clock, in whole seconds: another second may begin between them.
    expect([60, 61]).toContain(rows[0].seconds);
  });

  // Plain OAuth, as in the plans of the OpenID Foundation, whose client sends no `resource`.
  test.each<[string, Form]>([
    ['the scopes of its API', { scope: 'read' }],
    ['no scope', {}],
  ])('without openid and resource, with %s: its API', async (_name, scope) => {
    for (const client of [app, signing]) {
      const { verifier, challenge } = pkcePair();
      const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
      const plain = {
        response_type: 'code',
        redirect_uri: REDIRECT_URI,
        client_id: client.clientId,
        ...pkce,
        ...scope,
      };
      const mode = client === signing ? { response_mode: 'jwt' } : {};
      const request = await requestObject(server.issuer, client.clientId, signer, { ...plain, ...mode });
      const form: Form = client === signing ? { client_id: client.clientId, request } : plain;
      const proven = await assertion(server.issuer, client.clientId, signer);
      const { body } = await post('/oauth2/par', { ...form, ...proven });
      const query = new URLSearchParams({ client_id: client.clientId, request_uri: String(body.request_uri) });
      const url = `${server.issuer}/oauth2/authorize?${query}`;
      const { searchParams } = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
      const signed = searchParams.get('response');
      const code = signed === null ? searchParams.get('code') : decodeJwt(signed).code;
      const authentication = await assertion(server.issuer, client.clientId, signer);
      const answer = await tokenRequest(codeForm({ code: String(code), verifier }), { authentication });
      expect(answer.body).not.toHaveProperty('id_token');
      const claims = { aud: ORDERS, scope: 'read', azp: client.clientId, cnf: { jkt: expect.any(String) } };
      expect(decodeJwt(String(answer.body.access_token))).toMatchObject(claims);
    }
  });
});

describe('refused at registration, with the name of the member', () => {
  const faults: [string, Record<string, unknown>][] = [
    ['token_endpoint_auth_method', { token_endpoint_auth_method: 'client_secret_basic' }],
    ['token_endpoint_auth_method', { token_endpoint_auth_method: 'none' }],
    ['require_pkce', { require_pkce: false }],
    ['require_issuer_audience', { require_issuer_audience: false }],
    ['require_pushed_authorization_requests', { require_pushed_authorization_requests: false }],
    ['dpop_bound_access_tokens', { dpop_bound_access_tokens: false }],
    ['id_token_signed_response_alg', { id_token_signed_response_alg: 'RS256' }],
    ['authorization_signed_response_alg', { authorization_signed_response_alg: 'RS256' }],
    ['introspection_signed_response_alg', { introspection_signed_response_alg: 'RS256' }],
    ['token_endpoint_auth_signing_alg', { token_endpoint_auth_signing_alg: 'RS256' }],
    ['request_object_signing_alg', { request_object_signing_alg: 'RS256' }],
    ['application_type', { application_type: 'native' }],
    ['redirect_uris', { redirect_uris: [REDIRECT_URI, 'http://127.0.0.1:8080/callback'] }],
    ['jwks_uri', { jwks: undefined, jwks_uri: 'http://app.example/jwks' }],
  ];
  test.each(faults)('%s: %j', async (member, members) => {
    const { status, body } = await server.admin.request('POST', '/clients', {
      ...CODE_FLOW,
      jwks: { keys: [signer.publicJwk] },
      security_profile: 'fapi2',
      ...members,
    });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toContain(`/${member}`);
  });

  test.each([
    ['require_signed_request_object', { require_signed_request_object: false }],
    ['response_modes', { response_modes: ['query', 'jwt'] }],
  ])('message signing, %s', async (member, members) => {
    const { status, body } = await server.admin.request('POST', '/clients', {
      ...CODE_FLOW,
      jwks: { keys: [signer.publicJwk] },
      security_profile: 'fapi2-message-signing',
      ...members,
    });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining(`/${member}`)]);
  });

  test('an unknown profile', async () => {
    const { status, body } = await server.admin.request('POST', '/clients', {
      ...CODE_FLOW,
      security_profile: 'fapi3',
    });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('/security_profile')]);
  });

  test('a PATCH cannot remove what the profile requires', async () => {
    const { status } = await server.admin.request('PATCH', `/clients/${app.clientId}`, {
      dpop_bound_access_tokens: false,
    });
    expect(status).toBe(400);
  });

  test('members that were left out are set and returned', async () => {
    const { body } = await server.admin.request('GET', `/clients/${app.clientId}`);
    expect(body).toMatchObject({
      token_endpoint_auth_method: 'private_key_jwt',
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: true,
      require_pkce: true,
      require_issuer_audience: true,
      id_token_signed_response_alg: 'ES256',
    });
  });
});

describe('refused at a request', () => {
  const pkce = () => ({ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' });

  test('an authorization request that was not pushed', async () => {
    const page = await createUserAgent(server.issuer).visit(
      authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce() }),
    );
    expect(page.html).not.toContain('id="login-page"');
  });

  test('a pushed request without PKCE, or without redirect_uri', async () => {
    expect((await push(params())).body.error).toBe('invalid_request');
    expect((await push({ ...params({ ...pkce() }), redirect_uri: '' })).body.error).toBe('invalid_request');
  });

  test.each<[string, Record<string, unknown>]>([
    ['the token endpoint as audience', { aud: 'TOKEN' }],
    ['a list of audiences, which another server could use too', { aud: 'LIST' }],
    ['an assertion that has expired', { exp: inSeconds(-60), iat: inSeconds(-120) }],
    ['an assertion without jti', { jti: undefined }],
    ['another issuer', { iss: 'another-client' }],
  ])('an assertion with %s', async (_name, changes) => {
    const named = { TOKEN: `${server.issuer}/oauth2/token`, LIST: [server.issuer, 'https://other.example'] };
    const aud = changes.aud === undefined ? {} : { aud: named[changes.aud as keyof typeof named] };
    const authentication = await assertion(server.issuer, app.clientId, signer, { claims: { ...changes, ...aud } });
    const { status, body } = await push(params(pkce()), authentication);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
  });

  test('RS256 with the same key', async () => {
    const { importJWK, exportJWK } = await import('jose');
    const rsa = await newSigner('RS256');
    const client = await register({
      security_profile: 'fapi2',
      jwks: { keys: [{ ...rsa.publicJwk, alg: undefined, kid: 'any' }].map(({ alg: _, ...jwk }) => jwk) },
    });
    const privateJwk = await exportJWK(rsa.privateKey);
    const asPs256 = { ...rsa, alg: 'PS256', privateKey: (await importJWK(privateJwk, 'PS256')) as never };
    const header = { kid: 'any' };
    const good = await assertion(server.issuer, client.clientId, asPs256, { header });
    const bad = await assertion(server.issuer, client.clientId, rsa, { header });
    const form = params({ ...pkce(), client_id: client.clientId });
    expect((await post('/oauth2/par', { ...form, ...bad })).body.error).toBe('invalid_client');
    expect((await post('/oauth2/par', { ...form, ...good })).status).toBe(201);
  });

  test('a DPoP proof from the future, also with a nonce: it could have been signed in advance', async () => {
    const form = { grant_type: 'refresh_token', refresh_token: 'whichever' };
    const ahead = (claims: Record<string, unknown>) =>
      dpopProof(dpopKey, { htm: 'POST', htu: `${server.issuer}/oauth2/token` }, { claims });
    const { headers } = await tokenRequest(form, { proof: await ahead({ nonce: 'invented' }) });
    const nonce = headers.get('dpop-nonce');
    const answer = await tokenRequest(form, { proof: await ahead({ nonce, iat: inSeconds(90) }) });
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_dpop_proof']);
    // The refresh token is invalid, the proofs are valid: clocks may differ by ten seconds.
    for (const claims of [{ nonce }, { iat: inSeconds(10) }, { nonce, iat: inSeconds(-90) }]) {
      expect((await tokenRequest(form, { proof: await ahead(claims) })).body.error).toBe('invalid_grant');
    }
  });

  test('a token request without a DPoP proof', async () => {
    const answer = await tokenRequest(codeForm(await obtainFapiCode()), { proof: undefined });
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant']);
  });

  test('a stolen code without the key of the client', async () => {
    const issued = await obtainFapiCode();
    const attacker = await assertion(server.issuer, app.clientId, await newSigner('PS256'));
    expect((await tokenRequest(codeForm(issued), { authentication: attacker })).status).toBe(401);
    expect((await tokenRequest({ ...codeForm(issued), client_id: app.clientId }, { authentication: {} })).status).toBe(
      401,
    );
    expect((await tokenRequest(codeForm(issued))).status).toBe(200);
  });

  test('a second use of a code revokes its tokens', async () => {
    const issued = await obtainFapiCode();
    const first = await tokenRequest(codeForm(issued));
    expect((await tokenRequest(codeForm(issued))).body.error).toBe('invalid_grant');
    const { access_token } = first.body as { access_token: string };
    const form = { token: access_token, ...(await assertion(server.issuer, app.clientId, signer)) };
    expect((await post('/oauth2/introspect', form)).body).toEqual({ active: false });
  });

  test('with message signing: no unsigned request, none without exp and nbf or valid for hours, no unsigned response', async () => {
    const authentication = () => assertion(server.issuer, signing.clientId, signer);
    const pushSigned = async (claims: Record<string, unknown>, changes: Form = {}) => {
      const all = params({ ...pkce(), response_mode: 'jwt', ...changes });
      const request = await requestObject(server.issuer, signing.clientId, signer, all, { claims });
      return post('/oauth2/par', { client_id: signing.clientId, request, ...(await authentication()) });
    };
    expect((await pushSigned({})).status).toBe(201);
    const plain = params({ ...pkce(), client_id: signing.clientId, response_mode: 'jwt' });
    expect((await post('/oauth2/par', { ...plain, ...(await authentication()) })).status).toBe(400);
    const faults = [
      { exp: undefined },
      { nbf: undefined },
      { exp: inSeconds(3 * 3600) },
      { nbf: inSeconds(-2 * 3600), exp: inSeconds(60) },
      { aud: 'https://other.example' },
    ];
    for (const claims of faults) {
      const { status, body } = await pushSigned(claims);
      expect([status, body.error]).toEqual([400, 'invalid_request_object']);
    }
    expect((await pushSigned({}, { response_mode: 'query' })).body.error).toBe('invalid_request');
  });
});

describe('ordinary clients on the same server', () => {
  test('a confidential client without PKCE, with a secret and RS256 ID tokens', async () => {
    const plain = await server.admin.createClient({
      ...CODE_FLOW,
      require_pkce: false,
      id_token_signed_response_alg: 'RS256',
      token_endpoint_auth_method: 'client_secret_post',
    });
    const url = authorizationUrl(server.issuer, { client_id: plain.clientId, nonce: 'a nonce' });
    const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
    const answer = await requestToken(
      server.issuer,
      { clientId: plain.clientId, clientSecret: '' },
      {
        grant_type: 'authorization_code',
        code: back.searchParams.get('code') as string,
        redirect_uri: REDIRECT_URI,
        client_secret: plain.clientSecret,
      },
    );
    const { idToken, accessToken } = toTokens(answer);
    expect(decodeProtectedHeader(idToken).alg).toBe('RS256');
    expect(decodeJwt(idToken)).toMatchObject({ nonce: 'a nonce', azp: plain.clientId });
    expect((await introspect(server.issuer, plain, accessToken)).body).toMatchObject({
      active: true,
      azp: plain.clientId,
    });
  });

  test('and one with PKCE and client_secret_basic', async () => {
    const plain = await server.admin.createClient(CODE_FLOW);
    expect((await exchange(server, plain, await obtainCode(server, plain))).status).toBe(200);
  });
});
