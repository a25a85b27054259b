// The claim contract, seen from outside: `client_id` and `azp`, equal, in every token of every grant in both formats, in every
// introspection answer, `azp` in every ID token. If a version of the engine drops one of our hooks, this fails.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { introspect, postForm, requestToken, type TestClient } from '../support/admin.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import { EXCHANGE } from '../support/exchange-chain.ts';
import { ALICE, CODE_FLOW, clientToken, obtainTokens, PUBLIC, refresh, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';

const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' } as const;
type Format = keyof typeof APIS;
type AppName = 'confidential' | 'public' | 'exchanger';

let server: TestServer;
let userId: string;
const apps = {} as Record<AppName, TestClient>;
const introspectors = {} as Record<Format, TestClient>;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  userId = await admin.createUser(ALICE.username, ALICE.password);
  const grantTypes = [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT];
  apps.confidential = await admin.createClient({ ...CODE_FLOW, grant_types: grantTypes });
  const ofPublic = [...CODE_FLOW.grant_types, DEVICE_GRANT];
  apps.public = await admin.createClient({ ...CODE_FLOW, ...PUBLIC, grant_types: ofPublic });
  apps.exchanger = await admin.createClient({ grant_types: ['client_credentials', EXCHANGE] });
  for (const format of ['jwt', 'opaque'] as const) {
    introspectors[format] = apps.exchanger;
    await admin.createApi(APIS[format], {
      scopes: ['read'],
      access_token_format: format,
      introspection_client_id: introspectors[format].clientId,
      delegation: { max_depth: 1, allowed_clients: null },
    });
    for (const app of Object.values(apps)) {
      const path = `/resource-servers/${encodeURIComponent(APIS[format])}/clients/${app.clientId}`;
      await admin.request('PUT', path, { scopes: ['read'], token_exchange: true });
    }
  }
});
afterAll(() => server.stop());

interface Issued {
  readonly accessToken: string;
  readonly refreshToken?: string;
  readonly idToken?: string;
  readonly sub: string;
}

const byClientCredentials = async (app: TestClient, format: Format): Promise<Issued> => ({
  accessToken: await clientToken(server, app, { resource: APIS[format] }),
  sub: app.clientId,
});
const byCode = async (app: TestClient, format: Format): Promise<Issued> => ({
  ...(await obtainTokens(server, app, { scope: 'openid read', resource: APIS[format] })),
  sub: userId,
});
const byRefresh = async (app: TestClient, format: Format): Promise<Issued> => ({
  ...toTokens(await refresh(server, app, (await byCode(app, format)).refreshToken as string)),
  sub: userId,
});

const byDevice = async (app: TestClient, format: Format): Promise<Issued> => {
  const form = { scope: 'openid read offline_access', resource: APIS[format] };
  const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, app, form);
  await approveDevice(server.issuer, body.user_code as string);
  const grant = { grant_type: DEVICE_GRANT, device_code: body.device_code as string };
  return { ...toTokens(await requestToken(server.issuer, app, grant)), sub: userId };
};
/** The API that a user's token is for exchanges it for one for itself. */
const byExchange = async (app: TestClient, format: Format): Promise<Issued> => {
  const other = format === 'jwt' ? 'opaque' : 'jwt';
  const { accessToken } = await obtainTokens(server, apps.public, { scope: 'openid read', resource: APIS[other] });
  const form = {
    grant_type: EXCHANGE,
    subject_token: accessToken,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    resource: APIS[format],
  };
  const { body } = await requestToken(server.issuer, app, form);
  return { accessToken: body.access_token as string, sub: userId };
};
const byDPoP = async (app: TestClient, format: Format): Promise<Issued> => {
  const htu = `${server.issuer}/oauth2/token`;
  const proof = await dpopProof(await newSigner(), { htm: 'POST', htu });
  const form = { grant_type: 'client_credentials', resource: APIS[format] };
  const { body } = await postForm(htu, app, form, { dpop: proof });
  if (body.token_type !== 'DPoP') throw new Error(JSON.stringify(body));
  return { accessToken: body.access_token as string, sub: app.clientId };
};

const PATHS: [string, Format, AppName, typeof byCode][] = [
  ['client_credentials', 'jwt', 'confidential', byClientCredentials],
  ['client_credentials', 'opaque', 'confidential', byClientCredentials],
  ['authorization_code', 'jwt', 'confidential', byCode],
  ['authorization_code', 'opaque', 'confidential', byCode],
  ['authorization_code', 'jwt', 'public', byCode],
  ['authorization_code', 'opaque', 'public', byCode],
  ['refresh_token', 'jwt', 'confidential', byRefresh],
  ['refresh_token', 'opaque', 'confidential', byRefresh],
  ['refresh_token', 'jwt', 'public', byRefresh],
  ['refresh_token', 'opaque', 'public', byRefresh],
  ['device_code', 'jwt', 'public', byDevice],
  ['device_code', 'opaque', 'confidential', byDevice],
  ['token exchange', 'jwt', 'exchanger', byExchange],
  ['token exchange', 'opaque', 'exchanger', byExchange],
  ['DPoP', 'jwt', 'confidential', byDPoP],
  ['DPoP', 'opaque', 'confidential', byDPoP],
];

describe.each(PATHS)('%s, %s, for a %s client', (_grant, format, appName, obtain) => {
  let app: TestClient;
  let binding: { client_id: string; azp: string };
  let issued: Issued;

  beforeAll(async () => {
    app = apps[appName];
    binding = { client_id: app.clientId, azp: app.clientId };
    issued = await obtain(app, format);
  });

  test('the token has the format that the API wants, and a JWT names its client twice', () => {
    if (format === 'opaque') expect(issued.accessToken).toMatch(/^ly[ac]_[\w-]{43}$/);
    else expect(decodeJwt(issued.accessToken)).toMatchObject(binding);
  });

  test('the row of an opaque token names its client twice', async () => {
    const { rows } = await server.sql.query(
      `SELECT client_id, payload->>'clientId' AS member, payload->'extra'->>'azp' AS azp FROM oidc_artifacts
       WHERE model IN ('AccessToken', 'ClientCredentials') AND client_id = $1`,
      [app.clientId],
    );
    if (format === 'opaque') expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) expect(row).toEqual({ ...binding, member: app.clientId });
  });

  test('introspection by the bound client, if it authenticates, and by the resource server names it twice', async () => {
    const ofApi = introspectors[format];
    for (const caller of appName === 'public' ? [ofApi] : [app, ofApi]) {
      const { status, body } = await introspect(server.issuer, caller, issued.accessToken);
      expect(status).toBe(200);
      expect(body).toMatchObject({ active: true, ...binding, sub: issued.sub, aud: APIS[format] });
      expect(String(body.scope).split(' ')).toContain('read');
    }
  });

  test('introspection of the refresh token by its client, if it authenticates, names it twice', async () => {
    if (issued.refreshToken === undefined) return;
    const { status, body } = await introspect(server.issuer, app, issued.refreshToken);
    if (appName === 'public') expect([status, body.error]).toEqual([401, 'invalid_client']);
    else expect(body).toMatchObject({ active: true, ...binding, sub: userId, token_type: 'refresh_token' });
  });

  test('the ID token names it as its authorized party (OpenID Connect Core §2), and in no claim of access tokens', () => {
    if (issued.idToken === undefined) return;
    const claims = decodeJwt(issued.idToken);
    expect(claims).toMatchObject({ azp: binding.azp, aud: app.clientId, sub: userId });
    expect(claims).not.toHaveProperty('client_id');
  });
});

test('the token for userinfo, which has no audience, is bound as well', async () => {
  const app = apps.confidential;
  const { accessToken } = await obtainTokens(server, app, { scope: 'openid' });
  const { body } = await introspect(server.issuer, app, accessToken);
  expect(body).toMatchObject({ active: true, client_id: app.clientId, azp: app.clientId });
});

test('the admin token, with which everything begins, is bound as well', async () => {
  expect(decodeJwt(await server.admin.token())).toMatchObject({ client_id: 'lanyard-admin', azp: 'lanyard-admin' });
});

test('a request cannot say whom the token is bound to', async () => {
  const app = apps.confidential;
  for (const name of ['azp', 'client', 'clientId', 'bound_client', 'sub', 'act']) {
    const token = await clientToken(server, app, { resource: APIS.jwt, [name]: 'lanyard-admin' });
    expect(decodeJwt(token)).toMatchObject({ client_id: app.clientId, azp: app.clientId, sub: app.clientId });
  }
});
