// Changes by operators take effect on issued tokens at once: disable, remove, revoke, policy rows.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { introspect, requestToken, type TestClient } from '../support/admin.ts';
import {
  CODE_FLOW,
  clientToken,
  INACTIVE,
  obtainTokens,
  refresh,
  toTokens,
  type UserTokens,
} from '../support/oauth.ts';
import { untilNextSecond } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const APIS = ['https://jwt.example', 'https://opaque.example'] as const;
const [JWT_API, OPAQUE_API] = APIS;
const PASSWORD = 'correct horse battery';

let server: TestServer;
let api: TestClient;
let count = 0;

/** Created for each test, because each test destroys something. */
let app: TestClient;
let user: { id: string; username: string; password: string };
let ofClient: string[];
let ofUser: UserTokens[];

beforeAll(async () => {
  server = await startTestServer();
  api = await server.admin.createClient();
});
afterAll(() => server.stop());

beforeEach(async () => {
  const { admin } = server;
  count += 1;
  const members = { scopes: ['read', 'write'], introspection_client_id: api.clientId };
  if (count === 1) {
    await admin.createApi(JWT_API, members);
    await admin.createApi(OPAQUE_API, { ...members, access_token_format: 'opaque' });
  }
  app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  for (const identifier of APIS) await admin.allow(app.clientId, identifier, ['read', 'write']);
  const username = `user-${count}`;
  user = { id: await admin.createUser(username, PASSWORD), username, password: PASSWORD };
  ofClient = await tokensOfClient();
  ofUser = await tokensOfUser();
  await expectActive([...ofClient, ...allOf(ofUser)]);
});

function tokensOfClient(): Promise<string[]> {
  return Promise.all(APIS.map((resource) => clientToken(server, app, { resource })));
}

function tokensOfUser(): Promise<UserTokens[]> {
  const scope = 'openid offline_access read write';
  return Promise.all(
    APIS.map((resource) => obtainTokens(server, app, { scope, resource, prompt: 'consent' }, { user })),
  );
}

const allOf = (tokens: UserTokens[]) => tokens.flatMap(({ accessToken, refreshToken }) => [accessToken, refreshToken]);

async function bodyOf(token: string, caller = app) {
  return (await introspect(server.issuer, caller, token)).body;
}

async function expectActive(tokens: string[], caller = app): Promise<void> {
  for (const token of tokens) expect(await bodyOf(token, caller)).toMatchObject({ active: true });
}

async function expectInactive(tokens: string[], callers: TestClient[]): Promise<void> {
  for (const caller of callers) {
    for (const token of tokens) expect(await bodyOf(token, caller)).toEqual(INACTIVE);
  }
}

async function change(method: string, path: string, body?: unknown) {
  const answer = await server.admin.request(method, path, body);
  expect(answer.status).toBeLessThan(300);
  return answer.body;
}

const apiPath = (identifier: string) => `/resource-servers/${encodeURIComponent(identifier)}`;

describe('the client', () => {
  test('disabled: all its tokens are inactive, and stay so after it was enabled: who stole one would have it again', async () => {
    await change('POST', `/clients/${app.clientId}/disable`);
    await expectInactive([...ofClient, ...allOf(ofUser)], [api]);
    expect((await introspect(server.issuer, app, ofClient[0] as string)).status).toBe(401);
    await change('POST', `/clients/${app.clientId}/enable`);
    await expectInactive([...ofClient, ...allOf(ofUser)], [app, api]);
    for (const { refreshToken } of ofUser) {
      expect((await refresh(server, app, refreshToken)).body.error).toBe('invalid_grant');
    }
    await expectActive([...(await tokensOfClient()), ...allOf(await tokensOfUser())]);
  });

  test('removed: all its tokens are inactive, also if another client gets the same id later', async () => {
    await change('DELETE', `/clients/${app.clientId}`);
    await expectInactive([...ofClient, ...allOf(ofUser)], [api]);
    await untilNextSecond(); // what the heir is given has another iat
    const heir = await change('POST', '/clients', { client_id: app.clientId, grant_types: ['client_credentials'] });
    await server.admin.allow(app.clientId, JWT_API, ['read']);
    const caller = { clientId: app.clientId, clientSecret: heir.client_secret as string };
    await expectInactive([...ofClient, ...allOf(ofUser)], [api, caller]);
  });

  test('revoke-tokens: all its tokens are inactive, JWTs too; later ones are active at once', async () => {
    const counts = await change('POST', `/clients/${app.clientId}/revoke-tokens`);
    expect(counts).toMatchObject({ access_tokens: 2, refresh_tokens: 2, grants: 2 });
    await expectInactive([...ofClient, ...allOf(ofUser)], [app, api]);
    await expectActive(await tokensOfClient());
    await expectActive(allOf(await tokensOfUser()));
  });

  test('revoke-tokens has no effect on another client', async () => {
    const other = await server.admin.createClient();
    await server.admin.allow(other.clientId, JWT_API, ['read']);
    const token = await clientToken(server, other);
    await change('POST', `/clients/${app.clientId}/revoke-tokens`);
    await expectActive([token], other);
  });
});

describe('the user', () => {
  test("disabled: the user's tokens are inactive, the client's own are not", async () => {
    await change('POST', `/users/${user.id}/disable`);
    await expectInactive(allOf(ofUser), [app, api]);
    await expectActive(ofClient);
  });

  test('enabled again: earlier tokens stay inactive, later ones are active at once', async () => {
    await change('POST', `/users/${user.id}/disable`);
    await change('POST', `/users/${user.id}/enable`);
    await expectInactive(allOf(ofUser), [app, api]);
    for (const { refreshToken } of ofUser) {
      expect((await refresh(server, app, refreshToken)).body.error).toBe('invalid_grant');
    }
    await expectActive(allOf(await tokensOfUser()));
  });

  test("revoke-tokens: the user's tokens are inactive, JWTs too; later ones are active at once", async () => {
    await change('POST', `/users/${user.id}/revoke-tokens`);
    await expectInactive(allOf(ofUser), [app, api]);
    await expectActive(ofClient);
    await expectActive(allOf(await tokensOfUser()));
  });

  test('a new password: earlier tokens are inactive', async () => {
    await change('PATCH', `/users/${user.id}`, { password: 'another horse battery' });
    await expectInactive(allOf(ofUser), [app, api]);
  });
});

describe('the policy', () => {
  test('row removed: tokens for that API are inactive for all callers, tokens for another API are not', async () => {
    await change('DELETE', `${apiPath(JWT_API)}/clients/${app.clientId}`);
    const [jwt, opaque] = ofUser as [UserTokens, UserTokens];
    await expectInactive([ofClient[0] as string, jwt.accessToken, jwt.refreshToken], [app, api]);
    await expectActive([ofClient[1] as string, opaque.accessToken, opaque.refreshToken]);
    await server.admin.allow(app.clientId, JWT_API, ['read']);
    await expectActive([jwt.accessToken]);
  });

  test('scopes removed: they disappear from issued tokens, and a refresh does not restore them', async () => {
    for (const identifier of APIS) await server.admin.allow(app.clientId, identifier, ['read']);
    for (const token of ofClient) expect(await bodyOf(token, api)).toMatchObject({ active: true, scope: 'read' });
    // No policy row has the OpenID scopes.
    const scope = 'openid offline_access read';
    for (const { accessToken, refreshToken } of ofUser) {
      const refreshed = toTokens(await refresh(server, app, refreshToken));
      for (const token of [accessToken, refreshed.accessToken]) {
        expect(await bodyOf(token, api)).toMatchObject({ active: true, scope });
      }
    }
  });

  test('all scopes removed: no scope is reported', async () => {
    await server.admin.allow(app.clientId, JWT_API, []);
    const body = await bodyOf(ofClient[0] as string, api);
    expect(body.active).toBe(true);
    expect(body.scope ?? '').toBe('');
  });

  test('a scope removed from the API: issued tokens do not have it any more', async () => {
    await change('PATCH', apiPath(OPAQUE_API), { scopes: ['read'] });
    expect(await bodyOf(ofClient[1] as string, api)).toMatchObject({ active: true, scope: 'read' });
    await change('PATCH', apiPath(OPAQUE_API), { scopes: ['read', 'write'] });
  });

  test('the API removed: its tokens are inactive for all callers, and no new one is issued', async () => {
    const identifier = 'https://short-lived.example';
    await server.admin.createApi(identifier, { scopes: ['read'], introspection_client_id: api.clientId });
    await server.admin.allow(app.clientId, identifier, ['read']);
    const token = await clientToken(server, app, { resource: identifier });
    await expectActive([token]);
    await change('DELETE', apiPath(identifier));
    await expectInactive([token], [app, api]);
    expect((await requestToken(server.issuer, app, { resource: identifier })).body.error).toBe('invalid_target');
  });

  test('the introspection client of the API replaced: for the former one all tokens are inactive', async () => {
    const successor = await server.admin.createClient();
    await change('PATCH', apiPath(JWT_API), { introspection_client_id: successor.clientId });
    await expectInactive([ofClient[0] as string], [api]);
    await expectActive([ofClient[0] as string], successor);
    await change('PATCH', apiPath(JWT_API), { introspection_client_id: api.clientId });
  });
});
