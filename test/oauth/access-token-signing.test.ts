// Each API chooses how its JWT access tokens are signed, and their typ: every grant issues them like that, on both transports, and
// every place of ours that reads them takes them. An API that has not chosen gets what it got before.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { createGuard } from '../../src/guard/index.ts';
import { refused } from '../guard/refused.ts';
import { introspect, postForm, requestToken, revoke, type TestClient, toAnswer } from '../support/admin.ts';
import { plain, sameBothWays } from '../support/both-ways.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import { ACCESS_TOKEN, EXCHANGE } from '../support/exchange-chain.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  INACTIVE,
  obtainTokens,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner, type Signer } from '../support/signing.ts';

const ALGORITHMS = ['ES256', 'RS256', 'PS256', 'Ed25519'] as const;
const TYPES = ['at+jwt', 'JWT'] as const;
const KINDS = ALGORITHMS.flatMap((alg) => TYPES.map((typ) => [alg, typ] as const));
const apiOf = (alg: string, typ: string) => `https://${alg}-${typ.replace('+', '-')}.example`.toLowerCase();
const DEFAULT = 'https://default.example';

let server: TestServer;
let app: TestClient;
let api: TestClient;
let keys: ReturnType<typeof createRemoteJWKSet>;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  keys = createRemoteJWKSet(new URL(`${server.issuer}/oauth2/jwks`), { cooldownDuration: 0 });
  for (const alg of ['PS256', 'Ed25519']) expect((await admin.request('POST', '/keys', { alg })).status).toBe(201);
  api = await admin.createClient({ grant_types: ['client_credentials', EXCHANGE] });
  app = await admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT],
  });
  const members = {
    scopes: ['read'],
    introspection_client_id: api.clientId,
    delegation: { max_depth: 1, allowed_clients: null },
  };
  await admin.createApi(DEFAULT, members);
  await admin.allow(app.clientId, DEFAULT, ['read']);
  for (const [alg, typ] of KINDS) {
    const identifier = apiOf(alg, typ);
    await admin.createApi(identifier, { ...members, access_token_signing_alg: alg, access_token_typ: typ });
    await admin.allow(app.clientId, identifier, ['read']);
    const row = `/resource-servers/${encodeURIComponent(identifier)}/clients/${api.clientId}`;
    await admin.request('PUT', row, { scopes: ['read'], token_exchange: true });
  }
  await admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

test('an API that says nothing gets ES256 and at+jwt', async () => {
  const header = decodeProtectedHeader(await clientToken(server, app, { resource: DEFAULT }));
  expect(header).toMatchObject({ alg: 'ES256', typ: 'at+jwt' });
});

describe.each(KINDS)('%s, %s', (alg, typ) => {
  const resource = apiOf(alg, typ);

  async function expectRight(token: string): Promise<void> {
    const { protectedHeader } = await jwtVerify(token, keys, { issuer: server.issuer, audience: resource });
    expect(protectedHeader).toEqual({ alg, typ, kid: expect.any(String) });
  }

  test('every grant issues such tokens', async () => {
    await expectRight(await clientToken(server, app, { resource }));
    const tokens = await obtainTokens(server, app, { scope: 'openid read', resource });
    await expectRight(tokens.accessToken);
    await expectRight(toTokens(await refresh(server, app, tokens.refreshToken)).accessToken);
    const subject = { subject_token: tokens.accessToken, subject_token_type: ACCESS_TOKEN };
    const exchanged = await requestToken(server.issuer, api, { grant_type: EXCHANGE, resource, ...subject });
    await expectRight(exchanged.body.access_token as string);
  });

  test('bound to a key, too', async () => {
    const signer = await newSigner();
    const proof = await dpopProof(signer, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
    const { body } = await requestToken(server.issuer, app, { resource }, { dpop: proof });
    await expectRight(body.access_token as string);
    expect(decodeJwt(body.access_token as string).cnf).toEqual({ jkt: signer.thumbprint });
  });

  test('both transports issue the same', async () => {
    const form = { grant_type: 'client_credentials', resource };
    const { body, isFast } = await sameBothWays(server, '/oauth2/token', plain(app, form));
    expect(isFast).toBe(true);
    await expectRight(body.access_token as string);
  });

  test('introspection describes it, and revocation makes it inactive', async () => {
    const token = await clientToken(server, app, { resource });
    const { body } = await introspect(server.issuer, api, token);
    expect(body).toMatchObject({
      active: true,
      aud: resource,
      scope: 'read',
      client_id: app.clientId,
      azp: app.clientId,
    });
    expect((await revoke(server.issuer, app, token)).status).toBe(200);
    expect((await introspect(server.issuer, api, token)).body).toEqual(INACTIVE);
  });

  test('userinfo takes it, if it is of a user and has openid', async () => {
    const { accessToken, idToken } = await obtainTokens(server, app, { scope: 'openid read', resource });
    const { status, body } = await userinfo(server, accessToken);
    expect([status, body.sub]).toEqual([200, decodeJwt(idToken).sub]);
  });

  test('the guard takes it when it is told to, and says what to change when it is not', async () => {
    const options = { issuer: server.issuer, audience: resource, clients: [app.clientId], mode: 'jwt' } as const;
    const token = await clientToken(server, app, { resource });
    const told = createGuard({ ...options, algorithms: [alg], types: [typ] });
    expect((await told.check(`Bearer ${token}`)).clientId).toBe(app.clientId);
    const untold = createGuard(options);
    if (alg === 'ES256' && typ === 'at+jwt') {
      expect((await untold.check(`Bearer ${token}`)).clientId).toBe(app.clientId);
      return;
    }
    const { status, body } = await refused(untold, `Bearer ${token}`);
    expect([status, body.error_description]).toEqual([
      401,
      expect.stringContaining(alg === 'ES256' ? 'types' : 'algorithms'),
    ]);
    const introspecting = createGuard({
      ...{ ...options, mode: 'introspection' as const },
      introspection: { clientId: api.clientId, clientSecret: api.clientSecret },
    });
    expect((await introspecting.check(`Bearer ${token}`)).clientId).toBe(app.clientId);
  });

  test('a key that is retired ends its tokens, and the next one signs', async () => {
    const token = await clientToken(server, app, { resource });
    const { kid } = decodeProtectedHeader(token);
    expect((await server.admin.request('DELETE', `/keys/${kid}`)).status).toBe(204);
    server.admin.forgetToken();
    expect((await introspect(server.issuer, api, token)).body).toEqual(INACTIVE);
    const next = decodeProtectedHeader(await clientToken(server, app, { resource }));
    expect(next).toMatchObject({ alg, typ });
    expect(next.kid).not.toBe(kid);
  });
});

test('tokens of the device flow are signed so too', async () => {
  const resource = apiOf('RS256', 'JWT');
  const started = await postForm(`${server.issuer}/oauth2/device_authorization`, app, {
    scope: 'openid read',
    resource,
  });
  const { user_code: userCode, device_code } = started.body as Record<string, string>;
  await approveDevice(server.issuer, String(userCode));
  const form = { grant_type: DEVICE_GRANT, device_code: String(device_code) };
  const { body } = await requestToken(server.issuer, app, form);
  expect(decodeProtectedHeader(body.access_token as string)).toMatchObject({ alg: 'RS256', typ: 'JWT' });
});

test('when an API changes, its earlier tokens stay valid here', async () => {
  const identifier = 'https://changes.example';
  await server.admin.createApi(identifier, { scopes: ['read'], introspection_client_id: api.clientId });
  await server.admin.allow(app.clientId, identifier, ['read']);
  const path = `/resource-servers/${encodeURIComponent(identifier)}`;
  const issued: string[] = [];
  for (const [access_token_signing_alg, access_token_typ] of [...KINDS, ...KINDS.slice(0, 1)]) {
    const change = { access_token_signing_alg, access_token_typ };
    expect((await server.admin.request('PATCH', path, change)).body).toMatchObject(change);
    issued.push(await clientToken(server, app, { resource: identifier }));
    expect(decodeProtectedHeader(issued.at(-1) as string)).toMatchObject({
      alg: access_token_signing_alg,
      typ: access_token_typ,
    });
  }
  for (const token of issued) expect((await introspect(server.issuer, api, token)).body.active).toBe(true);
});

test('the admin API can have another algorithm and type, and lets its own tokens in', async () => {
  const path = `/resource-servers/${encodeURIComponent(`${server.issuer}/admin`)}`;
  for (const change of [
    { access_token_signing_alg: 'RS256', access_token_typ: 'JWT' },
    { access_token_signing_alg: 'ES256', access_token_typ: 'at+jwt' },
  ]) {
    expect((await server.admin.request('PATCH', path, change)).status).toBe(200);
    server.admin.forgetToken();
    const header = decodeProtectedHeader(await server.admin.token());
    expect(header).toMatchObject({ alg: change.access_token_signing_alg, typ: change.access_token_typ });
    expect((await server.admin.request('GET', '/users')).status).toBe(200);
  }
});

describe('a client with a security profile (FAPI 2.0 Security Profile §5.4.1)', () => {
  let fapi: TestClient;
  let key: Signer;
  beforeAll(async () => {
    key = await newSigner();
    fapi = await server.admin.createClient({
      grant_types: ['client_credentials'],
      security_profile: 'fapi2',
      jwks: { keys: [key.publicJwk] },
    });
    for (const [alg, typ] of KINDS) await server.admin.allow(fapi.clientId, apiOf(alg, typ), ['read']);
  });

  async function ask(resource: string) {
    const form = {
      grant_type: 'client_credentials',
      resource,
      ...(await assertion(server.issuer, fapi.clientId, key)),
    };
    const proof = await dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
    return postForm(`${server.issuer}/oauth2/token`, fapi, form, { dpop: proof });
  }

  test.each(['ES256', 'PS256', 'Ed25519'])('gets tokens with %s', async (alg) => {
    const { status, body } = await ask(apiOf(alg, 'at+jwt'));
    expect([status, decodeProtectedHeader(body.access_token as string).alg]).toEqual([200, alg]);
  });

  test('gets none with RS256, and is told why', async () => {
    const { status, body } = await ask(apiOf('RS256', 'at+jwt'));
    expect([status, body.error]).toEqual([400, 'invalid_target']);
    expect(body.error_description).toContain('signed with RS256, which the security profile of this client excludes');
  });

  test('gets opaque tokens of that API, which are not signed', async () => {
    const path = `/resource-servers/${encodeURIComponent(apiOf('RS256', 'at+jwt'))}`;
    await server.admin.request('PATCH', path, { access_token_format: 'opaque' });
    expect((await ask(apiOf('RS256', 'at+jwt'))).status).toBe(200);
    await server.admin.request('PATCH', path, { access_token_format: 'jwt' });
  });
});

async function readJson(path: string): Promise<Record<string, unknown>> {
  return (await toAnswer(await fetch(server.issuer + path))).body;
}

test('the key set and the discovery document list the algorithms; ES256 comes first', async () => {
  const published = (await readJson('/oauth2/jwks')).keys as { alg: string }[];
  expect(published[0]?.alg).toBe('ES256');
  expect(new Set(published.map((key) => key.alg))).toEqual(new Set(ALGORITHMS));
  const metadata = await readJson('/.well-known/openid-configuration');
  expect(new Set(metadata.id_token_signing_alg_values_supported as string[])).toEqual(new Set(ALGORITHMS));
});

test('when the only key of an algorithm cannot be decrypted, its APIs get no tokens for the time, and the others do', async () => {
  const text = `UPDATE signing_keys SET kid = kid || '-', sealed_private_jwk = 'broken' WHERE alg = 'PS256' RETURNING kid`;
  expect((await server.sql.query(text)).rowCount).toBe(1);
  const { status, body } = await requestToken(server.issuer, app, { resource: apiOf('PS256', 'at+jwt') });
  expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
  expect(body.error_description).toBe('there is no key for PS256 at the moment');
  expect((await requestToken(server.issuer, app, { resource: apiOf('Ed25519', 'at+jwt') })).status).toBe(200);
});
