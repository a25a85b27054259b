// The engine changes and freezes what it is given. Clients, users and verified tokens are
// remembered between requests: whatever the engine does to its copy in one request, the next
// request must not see it.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { createFindAccount } from '../../src/provider/configuration/account.ts';
import { reviveModel } from '../../src/provider/engine-internals.ts';
import { requestToken, type TestClient } from '../support/admin.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { newSigner } from '../support/signing.ts';

const API = 'https://api.example';

let engine: TestEngine;
let app: TestClient;

beforeAll(async () => {
  engine = await startTestEngine();
  const { publicJwk } = await newSigner();
  app = await engine.insertClient('app', {
    grant_types: ['client_credentials'],
    jwks: { keys: [publicJwk] },
    authorization_details_types: ['payment'],
    contacts: ['ops@shop.example'],
  });
  await engine.insertUser('alice');
  const claims = JSON.stringify({ address: { country: 'Norway' } });
  await engine.sql.query('UPDATE users SET claims = $1', [claims]);
  await engine.insertApi(API, 'jwt', { app: ['read'] });
  await engine.sql.query(`UPDATE resource_servers SET authorization_details_types = '{"payment": {}}'`);
});
afterAll(() => engine.stop());

/** As jose does it to a key, and the engine to claims and models. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const member of Object.values(value)) spoil(member);
  if (Array.isArray(value)) value.push('spoilt');
  else Object.assign(value, { spoilt: true });
  Object.freeze(value);
}

test('an engine that has used the keys of a client leaves them to the next one as they were', async () => {
  const load = async () => (await engine.provider.Client.find('app'))?.metadata();
  const first = await load();
  expect(first).toMatchObject({ authorization_details_types: ['payment'], contacts: ['ops@shop.example'] });
  const before = structuredClone(first);
  for (const member of Object.values(first ?? {})) spoil(member);
  expect(await load()).not.toEqual(before);
  engine.useKeys({ signingKeys: engine.signingKeys, cookieKeys: ['a key for the tests'] });
  expect(await load()).toEqual(before);
});

test('the claims of a user that one request has merged are those of the user for the next one', async () => {
  const findAccount = createFindAccount(engine.directory);
  const ctx = { oidc: {} } as KoaContextWithOIDC;
  const load = async () => (await findAccount(ctx, 'alice'))?.claims('userinfo', '', {}, []);
  expect(await load()).toMatchObject({ address: { country: 'Norway' } });
  spoil(await load());
  expect((await load())?.address).toEqual({ country: 'Norway' });
});

test('what the engine does to the model of a JWT is not remembered with its claims', async () => {
  const details = JSON.stringify([{ type: 'payment', actions: ['transfer'] }]);
  const form = { resource: API, authorization_details: details };
  const { body } = await requestToken(engine.issuer, app, form);
  expect(body).toHaveProperty('access_token');
  const { jwtAccessTokens, provider } = engine;
  const load = async () => {
    const claims = await jwtAccessTokens.verify(body.access_token as string);
    return claims && reviveModel(provider, 'ClientCredentials', { ...jwtAccessTokens.toStored(claims) });
  };
  const first = await load();
  expect(first?.rar).toEqual(JSON.parse(details));
  spoil(first?.rar);
  spoil(first?.extra);
  const second = await load();
  expect([second?.rar, second?.extra]).toEqual([JSON.parse(details), expect.not.objectContaining({ spoilt: true })]);
});
