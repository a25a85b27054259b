// An API that has chosen the type JWT for its access tokens, and an app that has the same name as this API, so that audience and issuer
// do not tell the JWTs of the two apart. What an attacker would gain: an ID token, which many parties see, that opens an API; or an
// access token, which an API has received, that signs its user out, or is a login hint, an actor or a client (RFC 8725 §3.12).

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { createGuard } from '../../src/guard/index.ts';
import { refused } from '../guard/refused.ts';
import { introspect, postForm, requestToken, type TestClient } from '../support/admin.ts';
import { ACCESS_TOKEN, EXCHANGE, JWT } from '../support/exchange-chain.ts';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  clientToken,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
  type UserTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { ASSERTION_TYPE, assertion, dpopProof, newSigner, requestObject, sign } from '../support/signing.ts';
import { createUserAgent, pkcePair, type UserAgent } from '../support/user-agent.ts';

/** Both the app and the API. */
const SAME = 'https://same.example/app';
const BYE = 'https://app.example/bye';

let receiver: LogoutReceiver;
let server: TestServer;
let app: TestClient;
let agent: UserAgent;
let tokens: UserTokens;

beforeAll(async () => {
  receiver = await startLogoutReceiver();
  server = await startTestServer({ LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: receiver.host });
  app = await server.admin.createClient({
    ...CODE_FLOW,
    client_id: SAME,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials', EXCHANGE],
    post_logout_redirect_uris: [BYE],
    id_token_signed_response_alg: 'ES256',
    userinfo_signed_response_alg: 'ES256',
    backchannel_logout_uri: `${receiver.url}/logout`,
  });
  await server.admin.createApi(SAME, {
    scopes: ['read'],
    access_token_typ: 'JWT',
    introspection_client_id: SAME,
    delegation: { max_depth: 1, allowed_clients: null },
  });
  const row = `/resource-servers/${encodeURIComponent(SAME)}/clients/${encodeURIComponent(SAME)}`;
  await server.admin.request('PUT', row, { scopes: ['read'], token_exchange: true });
  await server.admin.createUser(ALICE.username, ALICE.password);
  agent = createUserAgent(server.issuer);
  tokens = await obtainTokens(server, app, { scope: 'openid read', resource: SAME }, { agent });
});
afterAll(async () => {
  await server.stop();
  receiver.close();
});

const guard = () =>
  createGuard({
    issuer: server.issuer,
    audience: SAME,
    clients: [SAME],
    mode: 'jwt',
    algorithms: ['ES256', 'RS256'],
    types: ['at+jwt', 'JWT'],
  });

test('the access token has the type, and nothing that another kind of JWT has', async () => {
  expect(decodeProtectedHeader(tokens.accessToken)).toMatchObject({ alg: 'ES256', typ: 'JWT' });
  const claims = decodeJwt(tokens.accessToken);
  expect(claims).toMatchObject({ client_id: SAME, azp: SAME, jti: expect.any(String), aud: SAME });
  for (const name of ['nonce', 'at_hash', 'c_hash', 's_hash', 'sid', 'events']) expect(claims).not.toHaveProperty(name);
  expect((await guard().check(`Bearer ${tokens.accessToken}`)).clientId).toBe(SAME);
  expect((await introspect(server.issuer, app, tokens.accessToken)).body).toMatchObject({ active: true, aud: SAME });
});

describe('is no access token, at the API and at introspection:', () => {
  async function expectRefused(jwt: string): Promise<void> {
    expect(jwt.split('.')).toHaveLength(3);
    expect(await refused(guard(), `Bearer ${jwt}`)).toMatchObject({ status: 401, code: 'invalid_token' });
    expect((await introspect(server.issuer, app, jwt)).body).toEqual({ active: false });
    const form = { grant_type: EXCHANGE, resource: SAME, subject_token: jwt, subject_token_type: JWT };
    const exchanged = await postForm(`${server.issuer}/oauth2/token`, app, form);
    expect([exchanged.status, exchanged.body.error]).toEqual([400, 'invalid_request']);
    expect((await userinfo(server, jwt)).status).toBe(401);
    const asAdmin = await fetch(`${server.issuer}/admin/v1/users`, { headers: { authorization: `Bearer ${jwt}` } });
    expect(asAdmin.status).toBe(401);
  }

  test('an ID token', async () => {
    expect(decodeJwt(tokens.idToken)).toMatchObject({ aud: SAME, azp: SAME, iss: server.issuer });
    await expectRefused(tokens.idToken);
  });

  test('a logout token', async () => {
    const browser = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent: browser });
    const page = await browser.visit(`${server.issuer}/oauth2/logout`);
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.html)?.[1] as string;
    await browser.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, logout: 'yes' });
    const [notice] = await receiver.wait('/logout');
    expect(decodeJwt(notice?.logoutToken as string)).toMatchObject({ aud: SAME, jti: expect.any(String) });
    await expectRefused(notice?.logoutToken as string);
  });

  test('a JARM response', async () => {
    const { leavesTo } = await agent.visit(
      authorizationUrl(server.issuer, {
        client_id: SAME,
        code_challenge: pkcePair().challenge,
        code_challenge_method: 'S256',
        response_mode: 'jwt',
      }),
    );
    const response = leavesTo?.searchParams.get('response') as string;
    expect(decodeJwt(response)).toMatchObject({ aud: SAME, iss: server.issuer });
    await expectRefused(response);
  });

  test('a signed introspection response', async () => {
    const headers = { accept: 'application/token-introspection+jwt' };
    const form = { token: tokens.accessToken };
    const { body } = await postForm(`${server.issuer}/oauth2/introspect`, app, form, headers);
    expect(decodeJwt(body.text as string)).toHaveProperty('token_introspection');
    await expectRefused(body.text as string);
  });

  test('a signed userinfo response', async () => {
    const { accessToken } = await obtainTokens(server, app, {}, { agent });
    const { body } = await userinfo(server, accessToken);
    expect(decodeJwt(body.text as string)).toMatchObject({ aud: SAME });
    await expectRefused(body.text as string);
  });

  test('what the app signs: an assertion, a request object, a DPoP proof, a security event', async () => {
    const signer = await newSigner();
    const { client_assertion: asserted = '' } = await assertion(server.issuer, SAME, signer);
    await expectRefused(asserted);
    await expectRefused(await requestObject(server.issuer, SAME, signer, { scope: 'openid' }));
    await expectRefused(await dpopProof(signer, { htm: 'GET', htu: SAME }));
    const event = { iss: server.issuer, aud: SAME, jti: 'x', events: {} };
    await expectRefused(await sign(signer, event, { typ: 'secevent+jwt' }));
  });
});

describe('an access token of either type is not taken for', () => {
  const AT_JWT = 'https://at-jwt.example/app';
  let ofTypeAtJwt: string;
  beforeAll(async () => {
    const other = await server.admin.createClient({
      ...CODE_FLOW,
      client_id: AT_JWT,
      id_token_signed_response_alg: 'ES256',
    });
    await server.admin.createApi(AT_JWT, { scopes: ['read'] });
    await server.admin.allow(AT_JWT, AT_JWT, ['read']);
    ofTypeAtJwt = (await obtainTokens(server, other, { scope: 'openid read', resource: AT_JWT }, { agent }))
      .accessToken;
    expect(decodeProtectedHeader(ofTypeAtJwt).typ).toBe('at+jwt');
  });

  /** Each with the app for which it would be an ID token. */
  const hints = (): [string, string][] => [
    [SAME, tokens.accessToken],
    [AT_JWT, ofTypeAtJwt],
  ];

  test('an ID token at the logout endpoint, which would name the app to go back to', async () => {
    for (const [client_id, hint] of hints()) {
      expect(decodeJwt(hint)).toMatchObject({ aud: client_id, iss: server.issuer, sub: expect.any(String) });
      const params = new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: BYE });
      const page = await agent.visit(`${server.issuer}/oauth2/logout?${params}`);
      expect([page.status, page.html.includes('id="logout-page"')]).toEqual([400, false]);
    }
    const params = new URLSearchParams({ id_token_hint: tokens.idToken, post_logout_redirect_uri: BYE });
    expect((await agent.visit(`${server.issuer}/oauth2/logout?${params}`)).html).toContain('id="logout-page"');
  });

  const withHint = (client_id: string, id_token_hint: string) => ({
    ...{ client_id, id_token_hint, response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', prompt: 'none' },
    ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256', state: 'a state' },
  });

  test('an ID token at the authorization endpoint, which would tell whether its user is signed in', async () => {
    const errorOf = async (client_id: string, hint: string) => {
      const { leavesTo } = await agent.visit(authorizationUrl(server.issuer, withHint(client_id, hint)));
      return leavesTo?.searchParams.get('error');
    };
    for (const [client_id, hint] of hints()) expect(await errorOf(client_id, hint)).toBe('invalid_request');
    expect(await errorOf(SAME, tokens.idToken)).toBe(null);
  });

  test('an ID token in a pushed request', async () => {
    const push = (hint: string) => postForm(`${server.issuer}/oauth2/par`, app, withHint(SAME, hint));
    const refusal = await push(tokens.accessToken);
    expect([refusal.status, refusal.body.error]).toEqual([400, 'invalid_request']);
    expect((await push(tokens.idToken)).status).toBe(201);
  });

  test('a login hint: neither is any other signed answer for the app', async () => {
    const { accessToken } = await obtainTokens(server, app, {}, { agent });
    const { body } = await userinfo(server, accessToken);
    const url = authorizationUrl(server.issuer, withHint(SAME, body.text as string));
    expect((await agent.visit(url)).leavesTo?.searchParams.get('error')).toBe('invalid_request');
  });

  test('an actor token; it is still a subject token', async () => {
    const exchange = (actorToken?: string) => {
      const actor = actorToken === undefined ? {} : { actor_token: actorToken, actor_token_type: ACCESS_TOKEN };
      const subject = { subject_token: tokens.accessToken, subject_token_type: ACCESS_TOKEN };
      const form = { grant_type: EXCHANGE, resource: SAME, ...subject, ...actor };
      return postForm(`${server.issuer}/oauth2/token`, app, form);
    };
    expect((await exchange()).status).toBe(200);
    const { status, body } = await exchange(await clientToken(server, app, { resource: SAME }));
    expect([status, body.error, body.error_description]).toEqual([
      400,
      'invalid_request',
      'a JWT as actor token must have the typ at+jwt',
    ]);
  });

  test('a client assertion, even of a client that has registered the keys of the server as its own', async () => {
    // The audience that an assertion needs, and the subject.
    await server.admin.createApi(server.issuer, { scopes: ['read'], access_token_typ: 'JWT' });
    const thief = await server.admin.createClient();
    await server.admin.allow(thief.clientId, server.issuer, ['read']);
    const token = await clientToken(server, thief);
    expect(decodeJwt(token)).toMatchObject({ aud: server.issuer, sub: thief.clientId });
    const jwks = await (await fetch(`${server.issuer}/oauth2/jwks`)).json();
    const change = { token_endpoint_auth_method: 'private_key_jwt', jwks };
    expect((await server.admin.request('PATCH', `/clients/${thief.clientId}`, change)).status).toBe(200);
    const form = { client_id: thief.clientId, client_assertion_type: ASSERTION_TYPE, client_assertion: token };
    const answer = await requestToken(server.issuer, { clientId: thief.clientId, clientSecret: '' }, form);
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client']);
  });
});
