// Resource indicators (RFC 8707) in the authorization code flow: which API a user's token is for.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { introspect, postForm, requestToken, type TestClient } from '../support/admin.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  clientToken,
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
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ aud: ORDERS, scope: 'openid read', azp: app.clientId });
    const other = toTokens(await refresh(server, app, tokens.refreshToken, { resource: BILLING }));
    expect(decodeJwt(other.accessToken)).toMatchObject({ aud: BILLING, azp: app.clientId });
    expect((decodeJwt(other.accessToken).scope as string).split(' ').sort()).toEqual(['openid', 'pay', 'read']);
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
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ aud: ORDERS, scope: 'openid read' });
    expect(await isActive(server, app, tokens.accessToken)).toBe(true);
    expect(await isActive(server, app, tokens.refreshToken)).toBe(true);
    const refreshed = toTokens(await refresh(server, app, tokens.refreshToken));
    expect(decodeJwt(refreshed.accessToken)).toMatchObject({ aud: ORDERS, scope: 'openid read' });

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

// Clients normalise URLs as the URL standard has it; identifiers need not have been registered like that.
describe.each([
  ['https://API.example:443/V1', 'https://api.example/V1'],
  ['https://b\u00fccher.example/api', 'https://xn--bcher-kva.example/api'],
  // The other way round: a client that does not normalise.
  ['https://other.example/v1', 'HTTPS://Other.Example:443/v1'],
])('%s, which clients ask for as %s', (registered, asked) => {
  let client: TestClient;
  beforeAll(async () => {
    // As versions before did.
    const text = `INSERT INTO resource_servers (identifier, normal_identifier, scopes) VALUES ($1, $2, '{read}')`;
    const normal = new URL(registered).href;
    await server.sql.query(text, [registered, normal === registered ? null : normal]);
    client = await server.admin.createClient({
      ...CODE_FLOW,
      grant_types: [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT],
    });
    await server.admin.allow(client.clientId, registered, ['read']);
  });
  const claims = { aud: registered, scope: 'openid read' };

  test('a user allows it once; every token is for the registered identifier', async () => {
    const agent = createUserAgent(server.issuer);
    for (const [first, second] of [
      [asked, registered],
      [registered, asked],
    ]) {
      const params = { scope: 'openid read', resource: first as string };
      const issued = await obtainCode(server, client, params, { agent });
      const tokens = toTokens(await exchange(server, client, issued, { resource: second as string }));
      expect(decodeJwt(tokens.accessToken)).toMatchObject(claims);
      for (const token of [tokens.accessToken, tokens.refreshToken]) {
        expect(await isActive(server, client, token)).toBe(true);
      }
      let { refreshToken } = tokens;
      for (const resource of [undefined, first, second]) {
        const refreshed = toTokens(await refresh(server, client, refreshToken, { resource }));
        expect(decodeJwt(refreshed.accessToken)).toMatchObject(claims);
        refreshToken = refreshed.refreshToken ?? refreshToken;
      }
    }
    const { rows } = await server.sql.query(
      `SELECT resource_server FROM consents WHERE client_id = $1 AND resource_server <> ''`,
      [client.clientId],
    );
    expect(rows).toEqual([{ resource_server: registered }]);
  });

  test('in a pushed request', async () => {
    const { verifier, challenge } = pkcePair();
    const request = {
      ...{ response_type: 'code', redirect_uri: CODE_FLOW.redirect_uris[0] as string, scope: 'openid read' },
      ...{ client_id: client.clientId, resource: asked, code_challenge: challenge, code_challenge_method: 'S256' },
    };
    const pushed = await postForm(`${server.issuer}/oauth2/par`, client, request);
    expect(pushed).toMatchObject({ status: 201 });
    const query = new URLSearchParams({ client_id: client.clientId, request_uri: String(pushed.body.request_uri) });
    const url = `${server.issuer}/oauth2/authorize?${query}`;
    const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
    const issued = { verifier, code: back.searchParams.get('code') as string, back };
    expect(decodeJwt(toTokens(await exchange(server, client, issued)).accessToken)).toMatchObject(claims);
  });

  test('in a token of the client', async () => {
    for (const resource of [asked, registered]) {
      expect(decodeJwt(await clientToken(server, client, { resource }))).toMatchObject({ ...claims, scope: 'read' });
    }
  });

  test('in a request of a device', async () => {
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, {
      scope: 'openid read',
      resource: asked,
    });
    await approveDevice(server.issuer, String(body.user_code));
    const form = { grant_type: DEVICE_GRANT, device_code: String(body.device_code) };
    expect(decodeJwt(toTokens(await requestToken(server.issuer, client, form)).accessToken)).toMatchObject(claims);
  });

  test('a change of it counts at once, in every spelling', async () => {
    const path = `/resource-servers/${encodeURIComponent(registered)}/clients/${client.clientId}`;
    await server.admin.request('DELETE', path);
    for (const resource of [asked, registered]) {
      const form = { grant_type: 'client_credentials', resource };
      expect((await requestToken(server.issuer, client, form)).body.error).toBe('invalid_target');
    }
    await server.admin.request('PATCH', `/resource-servers/${encodeURIComponent(registered)}`, { scopes: ['other'] });
    await server.admin.allow(client.clientId, registered, ['other']);
    expect(decodeJwt(await clientToken(server, client, { resource: asked }))).toMatchObject({ scope: 'other' });
  });
});

test('two spellings in one request are one API', async () => {
  const { verifier, challenge } = pkcePair();
  const request = { client_id: app.clientId, scope: 'openid read', code_challenge: challenge };
  const url = authorizationUrl(server.issuer, { ...request, code_challenge_method: 'S256' });
  const both = new URLSearchParams(
    [ORDERS, 'https://ORDERS.example'].map((resource): [string, string] => ['resource', resource]),
  );
  const back = await signInAndAllow(createUserAgent(server.issuer), `${url}&${both}`, ALICE);
  const issued = { verifier, code: back.searchParams.get('code') as string, back };
  expect(decodeJwt(toTokens(await exchange(server, app, issued)).accessToken).aud).toBe(ORDERS);
});

test('without resource and scopes of an API, a user token is for userinfo only', async () => {
  const tokens = toTokens(await exchange(server, app, await obtainCode(server, app, { scope: 'openid' })));
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
  expect(decodeJwt(tokens.accessToken).scope).toBe('openid read');
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
