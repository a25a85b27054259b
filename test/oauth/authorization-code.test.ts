// Authorization code and PKCE, from the first page to the refresh, and attempts with a stolen code.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  fetchUserInfo,
  randomPKCECodeVerifier,
  refreshTokenGrant,
} from 'openid-client';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { introspect, requestToken, type TestClient } from '../support/admin.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import {
  CODE_FLOW,
  exchange,
  honest,
  isActive,
  obtainCode,
  PUBLIC,
  REDIRECT_URI,
  tally,
  toTokens,
} from '../support/oauth.ts';
import { until, untilSecond } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const VAULT = 'https://vault.example';
const USER = { username: 'alice', password: 'correct horse battery' };

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient({
    client_name: 'Shop',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [REDIRECT_URI],
  });
  await server.admin.createApi(ORDERS, { name: 'Orders', scopes: ['orders:read', 'orders:write'] });
  await server.admin.allow(app.clientId, ORDERS, ['orders:read']);
  await server.admin.createApi(VAULT, { scopes: ['vault:open'], access_token_format: 'opaque' });
  await server.admin.allow(app.clientId, VAULT, ['vault:open']);
  await server.admin.createUser(USER.username, USER.password, {
    email: 'alice@example.com',
    claims: { name: 'Alice', phone_number: '+49 30 1', address: { country: 'DE' } },
  });
});
afterAll(() => server.stop());

test('a user signs in and allows, and the app gets tokens that name it', async () => {
  const { verifier, challenge } = pkcePair();
  const authorizationUrl = `${server.issuer}/oauth2/authorize?${new URLSearchParams({
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid email orders:read',
    resource: ORDERS,
    state: 'a state',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  })}`;
  const back = await signInAndAllow(createUserAgent(server.issuer), authorizationUrl, USER);
  expect(back.searchParams.get('state')).toBe('a state');
  expect(back.searchParams.get('iss')).toBe(server.issuer);

  const answer = await requestToken(server.issuer, app, {
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') as string,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
  });
  expect(answer.status).toBe(200);
  const accessToken = decodeJwt(answer.body.access_token as string);
  const scope = 'openid email orders:read';
  expect(accessToken).toMatchObject({ client_id: app.clientId, azp: app.clientId, aud: ORDERS, scope });
  const idToken = decodeJwt(answer.body.id_token as string);
  expect(idToken).toMatchObject({ azp: app.clientId, aud: app.clientId, email: 'alice@example.com' });

  const refreshed = await requestToken(server.issuer, app, {
    grant_type: 'refresh_token',
    refresh_token: answer.body.refresh_token as string,
  });
  expect(refreshed.status).toBe(200);
  expect((await introspect(server.issuer, app, refreshed.body.access_token as string)).body).toMatchObject({
    active: true,
    client_id: app.clientId,
    azp: app.clientId,
    username: 'alice',
    sub: accessToken.sub,
  });
  expect((await introspect(server.issuer, app, answer.body.refresh_token as string)).body).toMatchObject({
    active: true,
    client_id: app.clientId,
    azp: app.clientId,
  });
});

test('an app with openid-client signs in, and gets ID token, userinfo and a refresh', async () => {
  const configuration = await honest(server, app);
  const verifier = randomPKCECodeVerifier();
  const [state, nonce] = ['a state', 'a nonce'];
  const url = buildAuthorizationUrl(configuration, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid email',
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    max_age: '600',
  });
  const back = await signInAndAllow(createUserAgent(server.issuer), url.href, USER);
  const tokens = await authorizationCodeGrant(configuration, back, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    maxAge: 600,
    idTokenExpected: true,
  });
  const claims = tokens.claims() as { sub: string };
  expect(claims).toMatchObject({ nonce, azp: app.clientId, auth_time: expect.any(Number) });
  const info = await fetchUserInfo(configuration, tokens.access_token, claims.sub);
  expect(info).toEqual({ sub: claims.sub, email: 'alice@example.com', email_verified: false });
  expect((await refreshTokenGrant(configuration, tokens.refresh_token as string)).access_token).toBeDefined();
});

describe('a stolen code', () => {
  test('is refused for another client (RFC 6749 §4.1.3), and its own client can still use it', async () => {
    const otherApp = await server.admin.createClient(CODE_FLOW);
    const otherPublicApp = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    const issued = await obtainCode(server, app);
    for (const client of [otherApp, otherPublicApp]) {
      const { status, body } = await exchange(server, client, issued);
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await exchange(server, app, issued)).status).toBe(200);
  });

  test('is refused without its verifier (RFC 7636 §4.6)', async () => {
    const issued = await obtainCode(server, app);
    for (const code_verifier of [undefined, '', 'x'.repeat(43), issued.verifier.toUpperCase(), `${issued.verifier}A`]) {
      const { status, body } = await exchange(server, app, issued, { code_verifier });
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await exchange(server, app, issued)).status).toBe(200);
  });

  test('is refused with another redirect_uri, or without one (RFC 6749 §4.1.3)', async () => {
    const issued = await obtainCode(server, app);
    for (const redirect_uri of ['https://evil.example', `${REDIRECT_URI}/`, undefined]) {
      expect((await exchange(server, app, issued, { redirect_uri })).status).toBe(400);
    }
    expect((await exchange(server, app, issued)).status).toBe(200);
  });

  test('is refused after its expiry', async () => {
    const issued = await obtainCode(server, app);
    await server.sql.query(
      `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{exp}', '1')::json WHERE model = 'AuthorizationCode'`,
    );
    expect((await exchange(server, app, issued)).body.error).toBe('invalid_grant');
  });
});

/** @param restSeconds from now on */
async function expire({ code }: { code: string }, restSeconds: number): Promise<void> {
  await server.sql.query(
    `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{exp}', to_jsonb($2::int))::json WHERE id = $1`,
    [artifactId('AuthorizationCode', code), Math.floor(Date.now() / 1000) + restSeconds],
  );
}

describe.each([
  ['JWT', ORDERS, 'openid orders:read'],
  ['opaque', VAULT, 'openid vault:open'],
])('a code that is used twice: %s', (_name, resource, scope) => {
  test.each([
    ['at once', 60],
    ['when the code has expired', -3_600],
  ])(
    'the second use fails and revokes the tokens of the first one, %s (RFC 6749 §4.1.2)',
    async (_when, restSeconds) => {
      const issued = await obtainCode(server, app, { resource, scope });
      const tokens = toTokens(await exchange(server, app, issued));
      expect(await isActive(server, app, tokens.accessToken)).toBe(true);
      await expire(issued, restSeconds);
      const second = await exchange(server, app, issued);
      expect([second.status, second.body.error]).toEqual([400, 'invalid_grant']);
      for (const token of [tokens.accessToken, tokens.refreshToken]) {
        expect(await isActive(server, app, token)).toBe(false);
      }
    },
  );

  test('the second use revokes the tokens of the first one, also when the database is slow', async () => {
    const issued = await obtainCode(server, app, { resource, scope });
    const tokens = toTokens(await exchange(server, app, issued));
    await expire(issued, -3_600);
    // The engine reads the code, then the session, and compares the clock only after that.
    const held = await lockTable(server.connectionString, 'revoked_tokens');
    const second = exchange(server, app, issued, { left_to: 'the engine' });
    await until(async () => (await countBlocked(server.sql)) === 1);
    await untilSecond(Math.floor(Date.now() / 1000) + 2);
    await held.release();
    expect((await second).body.error).toBe('invalid_grant');
    expect(await isActive(server, app, tokens.accessToken)).toBe(false);
  });

  test('of twenty parallel exchanges exactly one succeeds, and its tokens are revoked', async () => {
    for (let round = 0; round < 3; round++) {
      const issued = await obtainCode(server, app, { resource, scope });
      const codeId = artifactId('AuthorizationCode', issued.code);
      const code = await server.sql.query('SELECT grant_id FROM oidc_artifacts WHERE id = $1', [codeId]);
      const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(server, app, issued)));
      expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_grant'] });
      const tokens = toTokens(answers.find((answer) => answer.status === 200) as (typeof answers)[0]);
      for (const token of [tokens.accessToken, tokens.refreshToken]) {
        expect(await isActive(server, app, token)).toBe(false);
      }
      const ofGrant = 'SELECT model FROM oidc_artifacts WHERE grant_id = $1';
      const { rows } = await server.sql.query(ofGrant, [code.rows[0].grant_id]);
      expect(rows).toEqual([]);
    }
  });
});
