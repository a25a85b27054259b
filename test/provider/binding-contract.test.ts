// The claim contract, seen from outside: `client_id` and `azp`, equal, in every token of every grant in both formats, in every
// introspection answer, `azp` in every ID token. If a version of the engine drops one of our hooks, this fails.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { introspect, type TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, clientToken, obtainTokens, PUBLIC, refresh, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' } as const;
type Format = keyof typeof APIS;
type AppName = 'confidential' | 'public';

let server: TestServer;
let userId: string;
const apps = {} as Record<AppName, TestClient>;
const introspectors = {} as Record<Format, TestClient>;

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  userId = await admin.createUser(ALICE.username, ALICE.password);
  const grantTypes = [...CODE_FLOW.grant_types, 'client_credentials'];
  apps.confidential = await admin.createClient({ ...CODE_FLOW, grant_types: grantTypes });
  apps.public = await admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  for (const format of ['jwt', 'opaque'] as const) {
    introspectors[format] = await admin.createClient();
    await admin.createApi(APIS[format], {
      scopes: ['read'],
      access_token_format: format,
      introspection_client_id: introspectors[format].clientId,
    });
    for (const app of Object.values(apps)) await admin.allow(app.clientId, APIS[format], ['read']);
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

  test('introspection by the bound client and by the resource server names it twice', async () => {
    for (const caller of [app, introspectors[format]]) {
      const { status, body } = await introspect(server.issuer, caller, issued.accessToken);
      expect(status).toBe(200);
      expect(body).toMatchObject({ active: true, ...binding, sub: issued.sub, aud: APIS[format], scope: 'read' });
    }
  });

  test('introspection of the refresh token by its client names it twice', async () => {
    if (issued.refreshToken === undefined) return;
    const { body } = await introspect(server.issuer, app, issued.refreshToken);
    expect(body).toMatchObject({ active: true, ...binding, sub: userId, token_type: 'refresh_token' });
  });

  test('the ID token names it as its authorized party (OpenID Connect Core §2)', () => {
    if (issued.idToken === undefined) return;
    expect(decodeJwt(issued.idToken)).toMatchObject({ ...binding, aud: app.clientId, sub: userId });
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
