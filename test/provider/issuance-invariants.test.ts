// What holds where a token is saved. Each token is built with the engine's model and saved past all checks of a request, as a
// faulty grant would: an attacker who found one would gain a token that the policy, or its own client, does not allow.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from 'oidc-provider';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

const JWT = 'https://jwt.example';
const OPAQUE = 'https://opaque.example';
const FOREIGN = 'https://foreign.example';
const METADATA = { grant_types: ['client_credentials'] };

type Properties = Readonly<Record<string, unknown>>;
type Model = new (properties: Properties) => { resourceServer: unknown; save(ttlSeconds?: number): Promise<string> };

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
  await engine.insertClient('app', METADATA);
  await engine.insertClient('dpop', { ...METADATA, dpop_bound_access_tokens: true });
  await engine.insertClient('certificate', { ...METADATA, tls_client_certificate_bound_access_tokens: true });
  await engine.insertClient('fapi', { ...METADATA, security_profile: 'fapi2' });
  await engine.insertUser('alice');
  const allowed = { app: ['read'], dpop: ['read'], certificate: ['read'], fapi: ['read'] };
  await engine.insertApi(JWT, 'jwt', allowed);
  await engine.insertApi(OPAQUE, 'opaque', allowed);
  await engine.insertApi(FOREIGN, 'jwt', {});
});
afterAll(() => engine.stop());

const countRows = async () => (await engine.sql.query('SELECT 1 FROM oidc_artifacts')).rowCount;

/** Saves one of the engine's models. @param audience of an access token */
async function save(name: string, properties: Properties, clientId = 'app', audience?: string): Promise<string> {
  const client = (await engine.provider.Client.find(clientId)) as Client;
  const token = new (engine.provider[name as 'AccessToken'] as unknown as Model)({ client, ...properties });
  const { extraClaims } = properties;
  if (extraClaims !== undefined) Object.assign(token, { extraClaims });
  if (audience !== undefined) {
    token.resourceServer = new engine.provider.ResourceServer(audience, {
      scope: 'read write',
      audience,
      accessTokenFormat: audience === OPAQUE ? 'opaque' : 'jwt',
      accessTokenTTL: 60,
      jwt: { sign: { alg: 'ES256' } },
    });
  }
  return engine.inUnit(() => token.save(60));
}

const EXCHANGED = {
  ...{ accountId: 'alice', scope: 'read openid', gty: 'token_exchange' },
  extraClaims: { act: {}, lanyard_origin: { grant_id: 'a grant' } },
};

describe.each([
  ['JWT', JWT],
  ['opaque', OPAQUE],
])('an access token, %s', (_format, audience) => {
  const ofUser = { accountId: 'alice', grantId: 'a grant', scope: 'read', gty: 'authorization_code' };

  test('is issued within the policy row, for a client and for a user', async () => {
    expect(await save('ClientCredentials', { scope: 'read' }, 'app', audience)).toEqual(expect.any(String));
    expect(await save('AccessToken', ofUser, 'app', audience)).toEqual(expect.any(String));
    const withOpenId = { ...ofUser, scope: 'openid email read' };
    expect(await save('AccessToken', withOpenId, 'app', audience)).toEqual(expect.any(String));
  });

  test('is issued to a client that must prove a key when it is bound to one', async () => {
    expect(await save('ClientCredentials', { scope: 'read', jkt: 'k' }, 'dpop', audience)).toEqual(expect.any(String));
    const x5t = { scope: 'read', 'x5t#S256': 't' };
    expect(await save('ClientCredentials', x5t, 'certificate', audience)).toEqual(expect.any(String));
    expect(await save('ClientCredentials', x5t, 'fapi', audience)).toEqual(expect.any(String));
  });

  test.each<[string, string, Properties, string, string]>([
    [
      'a scope outside the policy row',
      'ClientCredentials',
      { scope: 'read write' },
      'app',
      'outside its policy row: write',
    ],
    ['the same for a user', 'AccessToken', { ...ofUser, scope: 'write' }, 'app', 'outside its policy row: write'],
    ['no key, for a client that demands DPoP', 'ClientCredentials', { scope: 'read' }, 'dpop', 'DPoP proof'],
    [
      'another kind of key than demanded',
      'ClientCredentials',
      { scope: 'read', 'x5t#S256': 't' },
      'dpop',
      'DPoP proof',
    ],
    ['no certificate where one is demanded', 'ClientCredentials', { scope: 'read' }, 'certificate', 'the certificate'],
    ['no key, for a client with a profile', 'ClientCredentials', { scope: 'read' }, 'fapi', 'security profile'],
    ['an OpenID scope in a token of its own', 'ClientCredentials', { scope: 'read openid' }, 'app', 'row: openid'],
    ['an OpenID scope in an exchanged one', 'AccessToken', EXCHANGED, 'app', 'row: openid'],
    ['a user without a grant', 'AccessToken', { ...ofUser, grantId: undefined }, 'app', 'without a grant'],
    ['an empty grant', 'AccessToken', { ...ofUser, grantId: '' }, 'app', 'without a grant'],
    ['a grant without a user', 'AccessToken', { ...ofUser, accountId: undefined }, 'app', 'without a grant'],
  ])('is not issued with %s', async (_name, model, properties, clientId, fault) => {
    const before = await countRows();
    await expect(save(model, properties, clientId, audience)).rejects.toThrow(fault);
    expect(await countRows()).toBe(before);
  });
});

test('an access token is not issued for an API at which its client has no policy row', async () => {
  await expect(save('ClientCredentials', { scope: 'read' }, 'app', FOREIGN)).rejects.toThrow('without a policy row');
});

test.each(['RefreshToken', 'AuthorizationCode'])('a %s is not saved without the grant of its user', async (model) => {
  const properties = { accountId: 'alice', scope: 'openid', gty: 'authorization_code' };
  await expect(save(model, properties)).rejects.toThrow('without a grant');
  await expect(save(model, { ...properties, accountId: undefined, grantId: 'a grant' })).rejects.toThrow('a grant');
  expect(await save(model, { ...properties, grantId: 'a grant' })).toEqual(expect.any(String));
});
