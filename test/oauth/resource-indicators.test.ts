// Resource indicators (RFC 8707) in the authorization code flow: which API a user's token is for.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { TestClient } from '../support/admin.ts';
import { introspect } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  INACTIVE,
  type IssuedCode,
  isActive,
  obtainCode,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BILLING = 'https://billing.example/v1';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  await server.admin.createApi(ORDERS, { scopes: ['read', 'write'] });
  await server.admin.createApi(BILLING, { scopes: ['read', 'pay'] });
});
beforeEach(async () => {
  app = await server.admin.createClient(CODE_FLOW);
  await server.admin.allow(app.clientId, ORDERS, ['read', 'write']);
  await server.admin.allow(app.clientId, BILLING, ['read', 'pay']);
});
afterAll(() => server.stop());

/** `resource` may be repeated, which a record cannot say. */
async function codeForBoth(): Promise<IssuedCode> {
  const { verifier, challenge } = pkcePair();
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    scope: 'openid read pay',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  const resources = new URLSearchParams([ORDERS, BILLING].map((resource): [string, string] => ['resource', resource]));
  const back = await signInAndAllow(createUserAgent(server.issuer), `${url}&${resources}`, ALICE);
  return { verifier, code: back.searchParams.get('code') as string, back };
}

describe('a user allowed two APIs', () => {
  test('each token is for one of them, with the scopes of that one (RFC 8707 §2.2)', async () => {
    const tokens = toTokens(await exchange(server, app, await codeForBoth(), { resource: ORDERS }));
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ aud: ORDERS, scope: 'read', azp: app.clientId });
    const other = toTokens(await refresh(server, app, tokens.refreshToken, { resource: BILLING }));
    expect(decodeJwt(other.accessToken)).toMatchObject({ aud: BILLING, azp: app.clientId });
    expect((decodeJwt(other.accessToken).scope as string).split(' ').sort()).toEqual(['pay', 'read']);
  });

  test('a token for both at once: invalid_target, and the code stays valid', async () => {
    const issued = await codeForBoth();
    const answer = await exchange(server, app, issued);
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target']);
    expect((await exchange(server, app, issued, { resource: BILLING })).status).toBe(200);
  });

  test('one of the two policy rows is removed: the refresh token is valid for the other API only', async () => {
    const { refreshToken, accessToken } = toTokens(
      await exchange(server, app, await codeForBoth(), { resource: ORDERS }),
    );
    await server.admin.request('DELETE', `/resource-servers/${encodeURIComponent(ORDERS)}/clients/${app.clientId}`);
    expect((await introspect(server.issuer, app, accessToken)).body).toEqual(INACTIVE);
    expect(await isActive(server, app, refreshToken)).toBe(true);
    expect((await refresh(server, app, refreshToken, { resource: ORDERS })).body.error).toBe('invalid_target');
    expect((await refresh(server, app, refreshToken, { resource: BILLING })).status).toBe(200);
  });
});

describe('the two spellings of an empty path', () => {
  test('are one API: the token has the registered identifier, refresh works, consent applies to both', async () => {
    const issued = await obtainCode(server, app, { scope: 'openid read', resource: `${ORDERS}/` });
    const tokens = toTokens(await exchange(server, app, issued));
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ aud: ORDERS, scope: 'read' });
    expect(await isActive(server, app, tokens.accessToken)).toBe(true);
    expect(await isActive(server, app, tokens.refreshToken)).toBe(true);
    const refreshed = toTokens(await refresh(server, app, tokens.refreshToken));
    expect(decodeJwt(refreshed.accessToken)).toMatchObject({ aud: ORDERS, scope: 'read' });

    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(
      authorizationUrl(server.issuer, {
        client_id: app.clientId,
        scope: 'openid read',
        resource: ORDERS,
        code_challenge: pkcePair().challenge,
        code_challenge_method: 'S256',
      }),
    );
    const back = await agent.submit(formAction(login.html, 'login'), ALICE);
    expect(back.leavesTo?.searchParams.has('code')).toBe(true); // no consent page
  });

  test('a removed policy row also applies to a token that was requested with the other spelling', async () => {
    const issued = await obtainCode(server, app, { scope: 'openid read', resource: `${ORDERS}/` });
    const tokens = toTokens(await exchange(server, app, issued));
    await server.admin.request('DELETE', `/resource-servers/${encodeURIComponent(ORDERS)}/clients/${app.clientId}`);
    for (const token of [tokens.accessToken, tokens.refreshToken]) {
      expect((await introspect(server.issuer, app, token)).body).toEqual(INACTIVE);
    }
    expect((await refresh(server, app, tokens.refreshToken)).body.error).toBe('invalid_target');
  });
});

test('without resource, a user token is for userinfo only', async () => {
  const tokens = toTokens(await exchange(server, app, await obtainCode(server, app, { scope: 'openid read write' })));
  expect((await userinfo(server, tokens.accessToken)).status).toBe(200);
  const { body } = await introspect(server.issuer, app, tokens.accessToken);
  expect(body).toMatchObject({ active: true, scope: 'openid' });
  expect(body).not.toHaveProperty('aud');
});

test('a code for one API cannot be exchanged for a token of another (RFC 8707 §2.2)', async () => {
  const issued = await obtainCode(server, app, { scope: 'openid read', resource: ORDERS });
  const answer = await exchange(server, app, issued, { resource: BILLING });
  expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target']);
});

test('a scope that the app was not granted is neither shown on the consent page nor issued', async () => {
  await server.admin.allow(app.clientId, ORDERS, ['read']);
  const tokens = toTokens(
    await exchange(server, app, await obtainCode(server, app, { scope: 'openid read write pay', resource: ORDERS })),
  );
  expect(decodeJwt(tokens.accessToken).scope).toBe('read');
});

test('the admin API without a policy row: no user token', async () => {
  const page = await createUserAgent(server.issuer).visit(
    authorizationUrl(server.issuer, {
      client_id: app.clientId,
      scope: 'openid admin:write',
      resource: `${server.issuer}/admin`,
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
    }),
  );
  expect(page.leavesTo?.searchParams.get('error')).toBe('invalid_target');
});
