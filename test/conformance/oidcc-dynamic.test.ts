// What failed in the plan `oidcc-dynamic-certification-test-plan` of the OpenID Foundation's suite, and in the basic one with
// `client_registration=dynamic_client`, by module. The app registers itself, with an initial access token that sets `require_pkce: false`.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { type Answer, requestToken, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ALICE, authorizationUrl, type Params, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner } from '../support/signing.ts';
import { createUserAgent, signInAndAllow } from '../support/user-agent.ts';

let server: TestServer;
let documents: DocumentHost;
let initialToken: string;
/** what is at `sector_identifier_uri` */
let sectorDocument: readonly string[] = [];

beforeAll(async () => {
  documents = await startDocumentHost((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(sectorDocument));
  });
  server = await startTestServer({ LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: documents.host });
  const { body } = await server.admin.request('POST', '/initial-access-tokens', { max_uses: 50, require_pkce: false });
  initialToken = String(body.token);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

/** As the suite registers its clients. */
async function register(members: Record<string, unknown> = {}): Promise<Answer> {
  const metadata = {
    client_name: 'OIDF Conformance Test',
    redirect_uris: [REDIRECT_URI],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    contacts: ['certification@oidf.example'],
    ...members,
  };
  const init = {
    method: 'POST',
    headers: { authorization: `Bearer ${initialToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(metadata),
  };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register`, init));
}

async function registered(members: Record<string, unknown> = {}): Promise<TestClient> {
  const { status, body } = await register(members);
  expect([status, body]).toEqual([201, expect.objectContaining({ client_id: expect.any(String) })]);
  return { clientId: String(body.client_id), clientSecret: String(body.client_secret ?? '') };
}

/** Without PKCE and `resource`. */
async function tokensFor(client: TestClient, params: Params = {}, authentication: Record<string, string> = {}) {
  const url = authorizationUrl(server.issuer, { client_id: client.clientId, nonce: 'a nonce of the app', ...params });
  const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
  expect(back.searchParams.get('error')).toBeNull();
  const code = String(back.searchParams.get('code'));
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, ...authentication };
  const { status, body } = await requestToken(server.issuer, client, form);
  expect([status, body]).toEqual([200, expect.objectContaining({ id_token: expect.any(String) })]);
  return { accessToken: String(body.access_token), idToken: String(body.id_token) };
}

function verified(jwt: string, { clientId }: TestClient) {
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`));
  return jwtVerify(jwt, keys, { issuer: server.issuer, audience: clientId, algorithms: ['RS256'] });
}

test('oidcc-server: registers itself, signs in without PKCE, and gets an ID token with RS256', async () => {
  const app = await registered();
  const { payload } = await verified((await tokensFor(app)).idToken, app);
  expect(payload).toMatchObject({ nonce: 'a nonce of the app', azp: app.clientId });
  expect(payload).not.toHaveProperty('client_id');
});

test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async () => {
  const app = await registered();
  await verified((await tokensFor(app, { nonce: undefined })).idToken, app);
});

test('oidcc-idtoken-rs256: with private_key_jwt', async () => {
  const signer = await newSigner('RS256');
  const app = await registered({
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [signer.publicJwk] },
    id_token_signed_response_alg: 'RS256',
  });
  const authentication = await assertion(server.issuer, app.clientId, signer);
  await verified((await tokensFor({ ...app, clientSecret: '' }, {}, authentication)).idToken, app);
});

test('oidcc-userinfo-rs256: userinfo is signed', async () => {
  const app = await registered({ userinfo_signed_response_alg: 'RS256' });
  const { accessToken } = await tokensFor(app);
  const headers = { authorization: `Bearer ${accessToken}` };
  const response = await fetch(`${server.issuer}/oauth2/userinfo`, { headers });
  expect(response.headers.get('content-type')).toMatch(/^application\/jwt/);
  expect((await verified(await response.text(), app)).payload).toHaveProperty('sub');
});

const sector = () => ({
  subject_type: 'pairwise',
  sector_identifier_uri: `https://${documents.host}/redirect_uris.json`,
});

test('oidcc-registration-sector-uri: is registered, when the document has its redirect URIs', async () => {
  sectorDocument = [REDIRECT_URI];
  const { status, body } = await register(sector());
  expect([status, body]).toEqual([201, expect.objectContaining(sector())]);
});

test('oidcc-registration-sector-bad: is refused, when the document has others', async () => {
  sectorDocument = ['https://other.example/callback'];
  const { status, headers, body } = await register(sector());
  expect([status, body.error]).toEqual([400, 'invalid_client_metadata']);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
});

test('oidcc-registration-logo-uri: the login page has the logo of a client that an operator has registered', async () => {
  const login = async (clientId: string) => {
    const url = authorizationUrl(server.issuer, { client_id: clientId, nonce: 'a nonce of the app' });
    return (await createUserAgent(server.issuer).visit(url)).html;
  };
  const logo_uri = `https://${documents.host}/logo.png`;
  const known = await server.admin.createClient({ redirect_uris: [REDIRECT_URI], require_pkce: false, logo_uri });
  expect(await login(known.clientId)).toContain('<img class="logo"');
  // Ours: software that registers itself could show the logo of a bank. The module is for review by a person.
  const html = await login((await registered({ logo_uri })).clientId);
  expect(html).toContain('id="login-page"');
  expect(html).not.toContain('<img class="logo"');
});
