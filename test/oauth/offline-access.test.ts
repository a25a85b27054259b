// offline_access (OpenID Connect Core §11) without prompt=consent, and refreshes that name the scopes of the authorization request
// again, as Authlib and zitadel/oidc do.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { postForm, requestToken, type TestClient } from '../support/admin.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  obtainCode,
  obtainTokens,
  type Params,
  PUBLIC,
  REDIRECT_URI,
  refresh,
  toTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, requestObject } from '../support/signing.ts';
import { createUserAgent, formAction, pkcePair, signInAndAllow, type UserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';
const OFFLINE = { scope: 'openid offline_access' };
const QUESTION = 'Keep this access after you sign out';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createApi(API, { scopes: ['read', 'write'], access_token_format: 'opaque' });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

async function newApp(metadata: object = {}): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...metadata });
  await server.admin.allow(client.clientId, API, ['read']);
  return client;
}

/** Signs in. @returns what the consent page asks; undefined if there is none */
async function question(client: TestClient, params: Params, agent: UserAgent): Promise<string | undefined> {
  const challenge = { code_challenge: pkcePair().challenge, code_challenge_method: 'S256' };
  let page = await agent.visit(
    authorizationUrl(server.issuer, { client_id: client.clientId, ...challenge, ...params }),
  );
  if (page.html.includes('id="login-page"')) page = await agent.submit(formAction(page.html, 'login'), ALICE);
  return page.html.includes('id="consent-page"') ? page.html : undefined;
}

async function signOut(agent: UserAgent): Promise<void> {
  const page = await agent.visit(`${server.issuer}/oauth2/logout`);
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.html)?.[1] as string;
  await agent.submit(`${server.issuer}/oauth2/logout/confirm`, { xsrf, logout: 'yes' });
}

/** Whether the app can still refresh when the user has signed out. */
async function outlives(client: TestClient, refreshToken: string, agent: UserAgent): Promise<boolean> {
  await signOut(agent);
  const { status, body } = await refresh(server, client, refreshToken);
  if (status !== 200) expect(body.error).toBe('invalid_grant');
  return status === 200;
}

describe('offline_access without prompt=consent', () => {
  test.each([
    ['a web app', {}],
    ['a public client', PUBLIC],
    ['a native client', { ...PUBLIC, application_type: 'native' }],
  ])('is kept when the user has allowed it by name: %s', async (_name, metadata) => {
    const client = await newApp(metadata);
    const agent = createUserAgent(server.issuer);
    expect(await question(client, OFFLINE, createUserAgent(server.issuer))).toContain(QUESTION);
    const answer = await exchange(server, client, await obtainCode(server, client, OFFLINE, { agent }));
    expect(answer.body.scope).toBe('openid offline_access');
    expect(await outlives(client, toTokens(answer).refreshToken, agent)).toBe(true);
  });

  test('is kept in a pushed request, and in a request object', async () => {
    const signer = await newSigner();
    const client = await newApp({ jwks: { keys: [signer.publicJwk] } });
    const { verifier, challenge } = pkcePair();
    const form = {
      ...{
        response_type: 'code',
        redirect_uri: REDIRECT_URI,
        code_challenge: challenge,
        code_challenge_method: 'S256',
      },
      ...OFFLINE,
    };
    const request = await requestObject(server.issuer, client.clientId, signer, form);
    const push = async (params: Record<string, string>) => {
      const { body } = await postForm(`${server.issuer}/oauth2/par`, client, { client_id: client.clientId, ...params });
      return { request_uri: String(body.request_uri) };
    };
    for (const params of [{ request }, await push(form), await push({ request })]) {
      const url = `${server.issuer}/oauth2/authorize?${new URLSearchParams({ client_id: client.clientId, ...params })}`;
      const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
      const answer = await exchange(server, client, { code: back.searchParams.get('code') as string, verifier, back });
      expect(answer.body.scope).toBe('openid offline_access');
    }
  });

  test('is asked for once: a consent is remembered, also for prompt=none', async () => {
    const client = await newApp();
    await obtainTokens(server, client, OFFLINE);
    const agent = createUserAgent(server.issuer);
    expect(await question(client, OFFLINE, agent)).toBeUndefined();
    const silent = await obtainCode(server, client, { ...OFFLINE, prompt: 'none' }, { agent });
    const tokens = toTokens(await exchange(server, client, silent));
    expect(await outlives(client, tokens.refreshToken, agent)).toBe(true);
  });

  test('is asked for although the user has allowed everything else before', async () => {
    const client = await newApp();
    await obtainTokens(server, client, { scope: 'openid' });
    expect(await question(client, OFFLINE, createUserAgent(server.issuer))).toContain(QUESTION);
  });

  test('gives an app nothing that outlives the session as long as the user has not allowed it: prompt=none', async () => {
    const client = await newApp();
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, client, { scope: 'openid' }, { agent });
    const silent = await obtainCode(server, client, { ...OFFLINE, prompt: 'none' }, { agent });
    const answer = await exchange(server, client, silent);
    expect(answer.body.scope).toBe('openid');
    expect(await outlives(client, toTokens(answer).refreshToken, agent)).toBe(false);
  });

  test('allowed once, it is not part of requests that do not ask for it', async () => {
    const client = await newApp();
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, client, OFFLINE, { agent });
    const answer = await exchange(server, client, await obtainCode(server, client, { scope: 'openid' }, { agent }));
    expect(answer.body.scope).toBe('openid');
    expect(await outlives(client, toTokens(answer).refreshToken, agent)).toBe(false);
  });

  test('is ignored for a client without the refresh_token grant, which gets no refresh token', async () => {
    const client = await newApp({ grant_types: ['authorization_code'] });
    expect(await question(client, OFFLINE, createUserAgent(server.issuer))).not.toContain(QUESTION);
    const { body } = await exchange(server, client, await obtainCode(server, client, OFFLINE));
    expect(body).toMatchObject({ scope: 'openid' });
    expect(body).not.toHaveProperty('refresh_token');
  });

  test('is ignored for a client whose scopes do not include it; with prompt=consent that is refused', async () => {
    const client = await newApp({ scope: 'openid' });
    const answer = await exchange(server, client, await obtainCode(server, client, OFFLINE));
    expect(answer.body.scope).toBe('openid');
    const back = createUserAgent(server.issuer).visit(
      authorizationUrl(server.issuer, {
        ...{ client_id: client.clientId, prompt: 'consent', ...OFFLINE },
        ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' },
      }),
    );
    expect((await back).leavesTo?.searchParams.get('error')).toBe('invalid_scope');
  });

  test('of a device: the page on which it is confirmed asks for it', async () => {
    const device = await newApp({ ...PUBLIC, grant_types: [DEVICE_GRANT, 'refresh_token'], redirect_uris: [] });
    const [agent, form] = [createUserAgent(server.issuer), { scope: 'openid offline_access read', resource: API }];
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, device, form);
    await approveDevice(server.issuer, String(body.user_code), agent);
    const redeemed = { grant_type: DEVICE_GRANT, device_code: String(body.device_code) };
    const answer = await requestToken(server.issuer, device, redeemed);
    expect(answer.body.scope).toBe('openid offline_access read');
    expect(await outlives(device, toTokens(answer).refreshToken, agent)).toBe(true);
  });
});

describe('a refresh that names scopes', () => {
  const again = async (client: TestClient, refreshToken: string, scope: string) => {
    const { status, body } = await refresh(server, client, refreshToken, { scope });
    return [status, status === 200 ? body.scope : body.error, body.refresh_token] as const;
  };

  test.each<[string, Params, string]>([
    ['an unknown one', { scope: 'openid unheard_of', resource: API }, 'openid'],
    ['one that the policy row lacks', { scope: 'openid read write', resource: API }, 'openid read'],
  ])('of the first request that were not granted is narrowed: %s', async (_name, asked, granted) => {
    const client = await newApp();
    const { refreshToken } = await obtainTokens(server, client, asked);
    expect(await again(client, refreshToken, asked.scope as string)).toEqual([200, granted, refreshToken]);
  });

  test('is narrowed through rotations: offline_access that was ignored, for a public client', async () => {
    const client = await newApp(PUBLIC);
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, client, { scope: 'openid' }, { agent });
    const silent = await obtainCode(server, client, { ...OFFLINE, prompt: 'none' }, { agent });
    let { refreshToken } = toTokens(await exchange(server, client, silent));
    for (let round = 0; round < 3; round++) {
      const [status, scope, next] = await again(client, refreshToken, OFFLINE.scope);
      expect([status, scope]).toEqual([200, 'openid']);
      refreshToken = String(next);
    }
  });

  test('in a pushed request, with a login and a consent page in between', async () => {
    const client = await newApp();
    const { verifier, challenge } = pkcePair();
    const form = {
      ...{
        response_type: 'code',
        redirect_uri: REDIRECT_URI,
        code_challenge: challenge,
        code_challenge_method: 'S256',
      },
      ...{ client_id: client.clientId, scope: 'openid read write', resource: API },
      lanyard_dropped_scope: 'forged',
    };
    const { body } = await postForm(`${server.issuer}/oauth2/par`, client, form);
    const query = new URLSearchParams({ client_id: client.clientId, request_uri: String(body.request_uri) });
    const back = await signInAndAllow(
      createUserAgent(server.issuer),
      `${server.issuer}/oauth2/authorize?${query}`,
      ALICE,
    );
    const issued = { code: back.searchParams.get('code') as string, verifier, back };
    const { refreshToken } = toTokens(await exchange(server, client, issued));
    expect((await again(client, refreshToken, 'openid read write')).slice(0, 2)).toEqual([200, 'openid read']);
    expect((await again(client, refreshToken, 'openid forged')).slice(0, 2)).toEqual([400, 'invalid_scope']);
  });

  test('of a device is narrowed too', async () => {
    const device = await newApp({ ...PUBLIC, grant_types: [DEVICE_GRANT, 'refresh_token'], redirect_uris: [] });
    const form = { scope: 'openid read write', resource: API };
    const { body } = await postForm(`${server.issuer}/oauth2/device_authorization`, device, form);
    await approveDevice(server.issuer, String(body.user_code));
    const redeemed = { grant_type: DEVICE_GRANT, device_code: String(body.device_code) };
    const { refreshToken } = toTokens(await requestToken(server.issuer, device, redeemed));
    expect((await again(device, refreshToken, form.scope)).slice(0, 2)).toEqual([200, 'openid read']);
  });

  test('that the first request has not named is refused (RFC 6749 §6), and so is one that would get nothing', async () => {
    const client = await newApp();
    const { refreshToken } = await obtainTokens(server, client, { scope: 'openid read', resource: API });
    for (const scope of ['openid profile', 'openid offline_access', 'read write', 'unheard_of']) {
      expect((await again(client, refreshToken, scope)).slice(0, 2)).toEqual([400, 'invalid_scope']);
    }
    const other = await obtainTokens(server, client, { scope: 'openid write', resource: API });
    expect((await again(client, other.refreshToken, 'write')).slice(0, 2)).toEqual([400, 'invalid_scope']);
  });

  test('gains nothing of what was granted since, in another request', async () => {
    const client = await newApp();
    const { refreshToken } = await obtainTokens(server, client, { scope: 'openid read write', resource: API });
    await server.admin.allow(client.clientId, API, ['read', 'write']);
    await obtainTokens(server, client, { scope: 'openid read write', resource: API });
    expect((await again(client, refreshToken, 'openid read write')).slice(0, 2)).toEqual([200, 'openid read']);
  });

  test('answers with an ID token of the same subject', async () => {
    const client = await newApp();
    const { refreshToken, idToken } = await obtainTokens(server, client, { scope: 'openid unheard_of', resource: API });
    const { body } = await refresh(server, client, refreshToken, { scope: 'openid unheard_of' });
    expect(decodeJwt(String(body.id_token)).sub).toBe(decodeJwt(idToken).sub);
  });
});
