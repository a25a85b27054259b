// A code or token is worth what its own grant allows. An attacker who brings a code or token
// together with the grant of another account or client, by a fault elsewhere, would otherwise act
// with what another user allowed, or allowed another app.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { introspect, requestToken, type TestClient } from '../support/admin.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { INACTIVE, REDIRECT_URI, userinfo } from '../support/oauth.ts';
import type { TestServer } from '../support/server.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';

let engine: TestEngine;
let app: TestClient;
let grantId: string;

beforeAll(async () => {
  engine = await startTestEngine();
  const metadata = {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [REDIRECT_URI],
  };
  app = await engine.insertClient('app', metadata);
  await engine.insertClient('other app', metadata);
  for (const name of ['alice', 'bob']) await engine.insertUser(name);
  await engine.insertApi(API, 'jwt', { app: ['read'] });
});
afterAll(() => engine.stop());

beforeEach(async () => {
  grantId = await saveGrant('alice', 'app');
});

async function saveGrant(accountId: string, clientId: string, jti?: string): Promise<string> {
  const { Grant } = engine.provider;
  const grant = new Grant({ accountId, clientId, ...(jti === undefined ? {} : { jti }) });
  grant.addOIDCScope('openid');
  grant.addResourceScope(API, 'read');
  return grant.save();
}

/** What a code and the tokens of alice for app have in common. */
async function members() {
  const client = await engine.provider.Client.find('app');
  if (client === undefined) throw new Error('no client');
  return { client, accountId: 'alice', grantId, gty: 'authorization_code', scope: 'openid', expiresIn: 60 };
}

const server = () => ({ issuer: engine.issuer }) as TestServer;

async function exchangeCode(): Promise<boolean> {
  const { verifier, challenge } = pkcePair();
  const { AuthorizationCode } = engine.provider;
  const code = new AuthorizationCode({
    ...(await members()),
    redirectUri: REDIRECT_URI,
    codeChallenge: challenge,
    codeChallengeMethod: 'S256',
  });
  const { status, body } = await requestToken(engine.issuer, app, {
    grant_type: 'authorization_code',
    code: await code.save(),
    code_verifier: verifier,
    redirect_uri: REDIRECT_URI,
  });
  return isToken(status, body);
}

async function saveRefreshToken(): Promise<string> {
  const { RefreshToken } = engine.provider;
  const token = new RefreshToken({ ...(await members()), rotations: 0 });
  return engine.inUnit(() => token.save());
}

async function useRefreshToken(): Promise<boolean> {
  const form = { grant_type: 'refresh_token', refresh_token: await saveRefreshToken() };
  const { status, body } = await requestToken(engine.issuer, app, form);
  return isToken(status, body);
}

function isToken(status: number, body: Record<string, unknown>): boolean {
  if (status === 200) return typeof body.access_token === 'string';
  expect([status, body.error]).toEqual([400, 'invalid_grant']);
  return false;
}

async function saveAccessToken(resource?: string): Promise<string> {
  const { AccessToken, ResourceServer } = engine.provider as typeof engine.provider & {
    ResourceServer: new (identifier: string, info: object) => InstanceType<typeof AccessToken>['resourceServer'];
  };
  const token = new AccessToken(await members());
  if (resource !== undefined) {
    token.scope = 'read';
    const jwt = { sign: { alg: 'ES256' } };
    token.resourceServer = new ResourceServer(resource, { scope: 'read', accessTokenFormat: 'jwt', jwt });
  }
  return engine.inUnit(() => token.save());
}

async function isActive(token: string): Promise<boolean> {
  const { body } = await introspect(engine.issuer, app, token);
  if (body.active !== true) expect(body).toEqual(INACTIVE);
  return body.active === true;
}

async function opensUserinfo(): Promise<boolean> {
  const { status, body } = await userinfo(server(), await saveAccessToken());
  expect([200, 401]).toContain(status);
  return body.sub === 'alice';
}

describe.each<[string, () => Promise<boolean>]>([
  ['a code is exchanged', exchangeCode],
  ['a refresh token gives a token', useRefreshToken],
  ['a refresh token is active', async () => isActive(await saveRefreshToken())],
  ['an opaque access token is active', async () => isActive(await saveAccessToken())],
  ['an access token opens userinfo', opensUserinfo],
])('%s', (_name, isHonoured) => {
  test('with its own grant', async () => {
    expect(await isHonoured()).toBe(true);
  });

  test.each([
    ['another account', 'bob', 'app'],
    ['another client', 'alice', 'other app'],
  ])('not with the grant of %s', async (_of, accountId, clientId) => {
    expect(await saveGrant(accountId, clientId, grantId)).toBe(grantId);
    expect(await isHonoured()).toBe(false);
  });
});

// It names no account beside its subject, which may be pairwise: its account is that of its grant.
test('a JWT is active with its own grant, and not with that of another client', async () => {
  const jwt = await saveAccessToken(API);
  expect(await isActive(jwt)).toBe(true);
  await saveGrant('alice', 'other app', grantId);
  expect(await isActive(jwt)).toBe(false);
});
