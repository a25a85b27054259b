// Userinfo with an access token for an API (OpenID Connect Core §5.3, RFC 8707): it answers for a user's token that itself carries
// openid, with the claims of the OpenID scopes that it carries. JWT and opaque tokens alike.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { introspect, requestToken, revoke, type TestClient, toAnswer } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  clientToken,
  exchange,
  obtainCode,
  obtainTokens,
  type Params,
  PUBLIC,
  refresh,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { untilSecond } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner, sign } from '../support/signing.ts';
import { createUserAgent } from '../support/user-agent.ts';

const FORMATS = ['jwt', 'opaque'] as const;
const SCOPE = 'email openid read';
const BOB = { username: 'bob', password: ALICE.password };

let server: TestServer;
let app: TestClient;
let api: TestClient;
let bobId: string;

beforeAll(async () => {
  server = await startTestServer();
  api = await server.admin.createClient();
  const claims = { name: 'Alice', phone_number: '+49 30 1' };
  await server.admin.createUser(ALICE.username, ALICE.password, { email: 'alice@example.com', claims });
  bobId = await server.admin.createUser(BOB.username, BOB.password, { email: 'bob@example.com' });
  for (const format of FORMATS) await createApi(apiOf(format), { access_token_format: format });
  app = await newApp();
});
afterAll(() => server.stop());

const apiOf = (format: (typeof FORMATS)[number]) => `https://${format}.example`;
const at = (identifier: string, rest = '') => `/resource-servers/${encodeURIComponent(identifier)}${rest}`;

function createApi(identifier: string, members: object = {}) {
  const introspection_client_id = api.clientId;
  return server.admin.createApi(identifier, { scopes: ['read', 'write'], introspection_client_id, ...members });
}

/** May call all APIs there are, with read. */
async function newApp(metadata: object = {}): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...metadata });
  for (const format of FORMATS) await server.admin.allow(client.clientId, apiOf(format), ['read']);
  return client;
}

type Options = Parameters<typeof obtainTokens>[3];
const ofUser = (resource: string, params: Params = {}, options: Options = {}, client = app) =>
  obtainTokens(server, client, { scope: SCOPE, resource, ...params }, options);

const sorted = (scope: unknown) => String(scope).split(' ').sort().join(' ');

async function outcome(accessToken: string): Promise<string> {
  const { status, body } = await userinfo(server, accessToken);
  if (status !== 200) expect(body).not.toHaveProperty('sub');
  return status === 200 ? '200' : `${status} ${body.error}`;
}

describe.each(FORMATS)('a token for an API, %s', (format) => {
  const resource = apiOf(format);

  test('is accepted at userinfo for the claims of the OpenID scopes that it carries, and of no other', async () => {
    const { accessToken, idToken } = await ofUser(resource);
    const { sub } = decodeJwt(idToken);
    const answer = { sub, email: 'alice@example.com', email_verified: false };
    expect((await userinfo(server, accessToken)).body).toEqual(answer);
    // The user has allowed phone since, in another request of the same app.
    await ofUser(resource, { scope: 'openid phone read' });
    expect((await userinfo(server, accessToken)).body).toEqual(answer);
  });

  test('single claims of the claims parameter are not among them', async () => {
    const claims = JSON.stringify({ userinfo: { name: null } });
    const { accessToken } = await ofUser(resource, { claims });
    expect((await userinfo(server, accessToken)).body).not.toHaveProperty('name');
  });

  test('carries the OpenID scopes at the token endpoint, in itself and at introspection, without a policy row for them', async () => {
    const answer = await exchange(server, app, await obtainCode(server, app, { scope: `${SCOPE} write`, resource }));
    expect(sorted(answer.body.scope)).toBe(SCOPE);
    const { accessToken } = toTokens(answer);
    for (const caller of [app, api]) {
      expect(sorted((await introspect(server.issuer, caller, accessToken)).body.scope)).toBe(SCOPE);
    }
    if (format === 'jwt') expect(sorted(decodeJwt(accessToken).scope)).toBe(SCOPE);
  });

  test('a refresh gets them too, or fewer if it asks for fewer', async () => {
    const { refreshToken } = await ofUser(resource);
    const [same, fewer] = [await refresh(server, app, refreshToken), await refresh(server, app, refreshToken, READ)];
    expect([sorted(same.body.scope), await outcome(toTokens(same).accessToken)]).toEqual([SCOPE, '200']);
    expect([fewer.body.scope, await outcome(toTokens(fewer).accessToken)]).toEqual(['read', '403 insufficient_scope']);
  });

  test('signed userinfo and pairwise subjects are as with any other token', async () => {
    const client = await newApp({ userinfo_signed_response_alg: 'ES256', subject_type: 'pairwise' });
    const { accessToken, idToken } = await ofUser(resource, {}, {}, client);
    const { headers, body } = await userinfo(server, accessToken);
    expect(headers.get('content-type')).toMatch('application/jwt');
    const claims = decodeJwt(String(body.text));
    expect(claims).toMatchObject({ sub: decodeJwt(idToken).sub, aud: client.clientId, email: 'alice@example.com' });
  });

  test('userinfo: false switches it off at once, for this API', async () => {
    const identifier = `https://closed-${format}.example`;
    await createApi(identifier, { access_token_format: format });
    await server.admin.allow(app.clientId, identifier, ['read']);
    const { accessToken } = await ofUser(identifier);
    const other = (await ofUser(resource)).accessToken;
    expect(await outcome(accessToken)).toBe('200');
    const changed = await server.admin.request('PATCH', at(identifier), { userinfo: false });
    expect(changed.body.userinfo).toBe(false);
    const refused = await userinfo(server, accessToken);
    expect([refused.status, refused.body]).toEqual([
      403,
      expect.objectContaining({ error: 'insufficient_scope', error_description: expect.stringContaining('this API') }),
    ]);
    expect(await outcome((await ofUser(identifier)).accessToken)).toBe('403 insufficient_scope');
    expect(await outcome(other)).toBe('200');
    await server.admin.request('PATCH', at(identifier), { userinfo: true });
    expect(await outcome(accessToken)).toBe('200');
  });

  test('a stolen one that is bound to a DPoP key is refused without a proof of that key (RFC 9449 §7.1)', async () => {
    const [key, thief] = [await newSigner(), await newSigner()];
    const client = await newApp(PUBLIC);
    const htu = (path: string, htm: string) => ({ htm, htu: `${server.issuer}${path}` });
    const issued = await obtainCode(server, client, { scope: SCOPE, resource });
    const dpop = await dpopProof(key, htu('/oauth2/token', 'POST'));
    const { accessToken } = toTokens(await exchange(server, client, issued, {}, { dpop }));
    const ath = createHash('sha256').update(accessToken).digest('base64url');
    const ask = async (signer: typeof key) => {
      const proof = await dpopProof(signer, htu('/oauth2/userinfo', 'GET'), { claims: { ath } });
      const headers = { authorization: `DPoP ${accessToken}`, dpop: proof };
      return toAnswer(await fetch(`${server.issuer}/oauth2/userinfo`, { headers }));
    };
    expect(await outcome(accessToken)).toBe('401 invalid_token');
    expect((await ask(thief)).status).toBe(401);
    expect((await ask(key)).body).toMatchObject({ email: 'alice@example.com' });
  });

  describe('gives an attacker no claims', () => {
    test('when its request has not asked for openid, although the user has allowed that before', async () => {
      const agent = createUserAgent(server.issuer);
      await ofUser(resource, {}, { agent });
      const answer = await exchange(server, app, await obtainCode(server, app, { scope: 'read', resource }, { agent }));
      expect(answer.body.scope).toBe('read');
      expect(await outcome(answer.body.access_token as string)).toBe('403 insufficient_scope');
    });

    test('when it is the client’s own: client_credentials asks for openid in vain', async () => {
      const client = await newApp({ grant_types: ['client_credentials'], redirect_uris: [] });
      const { body } = await requestToken(server.issuer, client, { scope: SCOPE, resource });
      expect(body.scope).toBe('read');
      expect(await outcome(body.access_token as string)).toBe('401 invalid_token');
      const alone = await requestToken(server.issuer, client, { scope: 'openid email', resource });
      expect([alone.status, alone.body.error]).toEqual([400, 'invalid_scope']);
      expect(await outcome(await clientToken(server, client, { resource }))).toBe('401 invalid_token');
    });

    test('when the user has signed out', async () => {
      const agent = createUserAgent(server.issuer);
      const { accessToken } = await ofUser(resource, {}, { agent });
      expect(await outcome(accessToken)).toBe('200');
      const page = await agent.visit(`${server.issuer}/oauth2/logout`);
      const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.html)?.[1] as string;
      await agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, logout: 'yes' });
      expect(await outcome(accessToken)).toBe('401 invalid_token');
    });

    test.each<[string, (client: TestClient, tokens: Awaited<ReturnType<typeof ofUser>>) => Promise<unknown>]>([
      ['it was revoked', (client, { accessToken }) => revoke(server.issuer, client, accessToken)],
      ['its grant was revoked', (client, { refreshToken }) => revoke(server.issuer, client, refreshToken)],
      ['its client was disabled', ({ clientId }) => server.admin.request('POST', `/clients/${clientId}/disable`)],
      ['its client was removed', ({ clientId }) => server.admin.request('DELETE', `/clients/${clientId}`)],
      [
        'its policy row was removed',
        ({ clientId }) => server.admin.request('DELETE', at(resource, `/clients/${clientId}`)),
      ],
      [
        'the tokens of its client were revoked',
        ({ clientId }) => server.admin.request('POST', `/clients/${clientId}/revoke-tokens`),
      ],
      [
        'the tokens of its user were revoked',
        () => server.admin.request('POST', `/users/${bobId}/revoke-tokens`).then(({ status }) => status),
      ],
    ])('when %s', async (_name, takeAway) => {
      const client = await newApp();
      const tokens = await ofUser(resource, {}, { user: BOB }, client);
      expect(await outcome(tokens.accessToken)).toBe('200');
      await takeAway(client, tokens);
      expect(await outcome(tokens.accessToken)).toBe('401 invalid_token');
    });

    test('when its user was disabled', async () => {
      const user = { username: `carol-${format}`, password: ALICE.password };
      const id = await server.admin.createUser(user.username, user.password);
      const { accessToken } = await ofUser(resource, {}, { user });
      await server.admin.request('POST', `/users/${id}/disable`);
      expect(await outcome(accessToken)).toBe('401 invalid_token');
    });

    test('when it has expired', async () => {
      const identifier = `https://short-${format}.example`;
      await createApi(identifier, { access_token_format: format, access_token_ttl_seconds: 1 });
      await server.admin.allow(app.clientId, identifier, ['read']);
      const { accessToken } = await ofUser(identifier);
      await untilSecond(Math.floor(Date.now() / 1000) + 3);
      expect(await outcome(accessToken)).toBe('401 invalid_token');
    });
  });
});

const READ = { scope: 'read' };

describe('a name that an API has used for a scope of its own since before it was reserved', () => {
  const identifier = 'https://legacy.example';
  let permitted: TestClient;

  beforeAll(async () => {
    await createApi(identifier);
    const text = `UPDATE resource_servers SET scopes = '{read,email}' WHERE identifier = $1`;
    await server.sql.query(text, [identifier]);
    permitted = await newApp({ grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
    await server.admin.allow(app.clientId, identifier, ['read']);
    await server.admin.allow(permitted.clientId, identifier, ['read', 'email']);
  });

  test('is not given to an app whose policy row lacks it: the API would take it for its own scope', async () => {
    const { accessToken } = await ofUser(identifier);
    expect(sorted(decodeJwt(accessToken).scope)).toBe('openid read');
    expect(sorted((await introspect(server.issuer, api, accessToken)).body.scope)).toBe('openid read');
    expect((await userinfo(server, accessToken)).body).toEqual({ sub: decodeJwt(accessToken).sub });
  });

  test('means what it meant before, where the policy row has it, and no claim of the user', async () => {
    const { accessToken } = await ofUser(identifier, {}, {}, permitted);
    expect(sorted(decodeJwt(accessToken).scope)).toBe(SCOPE);
    expect((await userinfo(server, accessToken)).body).toEqual({ sub: decodeJwt(accessToken).sub });
    const own = await clientToken(server, permitted, { resource: identifier, scope: 'email read' });
    expect(sorted(decodeJwt(own).scope)).toBe('email read');
  });
});

test('a JWT with other claims, signed by another key, opens nothing', async () => {
  const { accessToken } = await ofUser(apiOf('jwt'), { scope: 'read' });
  const forger = await newSigner('ES256');
  const header = decodeProtectedHeader(accessToken) as { alg: string; kid: string; typ: string };
  const forged = await sign(forger, { ...decodeJwt(accessToken), scope: SCOPE }, header);
  expect(await outcome(forged)).toBe('401 invalid_token');
});

test('the API that got a token can read these claims with it, as docs/security.md says', async () => {
  const { accessToken } = await ofUser(apiOf('opaque'));
  // Nothing but the token is presented.
  expect((await userinfo(server, accessToken)).body).toMatchObject({ email: 'alice@example.com' });
});
