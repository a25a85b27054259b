// OpenID Connect authorization requests: the claims parameter, acr, pairwise subjects, hints.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { introspect, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
  toTokens,
  userinfo,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair, type UserAgent } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const ACR = 'urn:lanyard:acr:password';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient(CODE_FLOW);
  await server.admin.createUser(ALICE.username, ALICE.password, {
    email: 'alice@example.com',
    claims: { name: 'Alice', nickname: 'Al' },
  });
});
afterAll(() => server.stop());

function requestUrl(params: Record<string, string>, client = app): string {
  return authorizationUrl(server.issuer, {
    client_id: client.clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    ...params,
  });
}

function visit(params: Record<string, string>, agent: UserAgent = createUserAgent(server.issuer)) {
  return agent.visit(requestUrl(params));
}

describe('the claims parameter (OpenID Connect Core §5.5)', () => {
  const claims = JSON.stringify({
    id_token: { nickname: null, auth_time: { essential: true } },
    userinfo: { name: null },
  });

  test('the page names the requested claims, and each is returned only where it was requested', async () => {
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(requestUrl({ claims }));
    const { html } = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    for (const claim of ['nickname', 'name']) expect(html).toContain(`<code>${claim}</code>`);

    const tokens = toTokens(await exchange(server, app, await obtainCode(server, app, { claims })));
    const idToken = decodeJwt(tokens.idToken);
    expect(idToken).toMatchObject({ nickname: 'Al', auth_time: expect.any(Number) });
    expect(idToken).not.toHaveProperty('name');
    const { body } = await userinfo(server, tokens.accessToken);
    expect(body).toMatchObject({ name: 'Alice' });
    expect(body).not.toHaveProperty('email');
  });

  test('no code for a value that is not JSON, or that requests another subject', async () => {
    expect((await visit({ claims: '{' })).leavesTo?.searchParams.get('error')).toBe('invalid_request');
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const other = JSON.stringify({ id_token: { sub: { value: 'another-user' } } });
    const page = await visit({ claims: other, prompt: 'none' }, agent);
    expect(page.leavesTo?.searchParams.get('error')).toBe('login_required');
  });
});

test('a client that may not request a scope cannot request its claims either', async () => {
  const modest = await server.admin.createClient({ ...CODE_FLOW, scope: 'openid email' });
  const asking = (claims: object) =>
    createUserAgent(server.issuer).visit(requestUrl({ claims: JSON.stringify(claims) }, modest));
  for (const claims of [{ userinfo: { nickname: null } }, { id_token: { phone_number: { essential: true } } }]) {
    expect((await asking(claims)).leavesTo?.searchParams.get('error')).toBe('invalid_scope');
  }
  const others = { userinfo: { email: null, unheard_of: null }, id_token: { sub: null, auth_time: null } };
  expect((await asking(others)).html).toContain('id="login-page"');
});

describe('authentication contexts', () => {
  test('the ID token says how and when the user signed in', async () => {
    const { idToken } = await obtainTokens(server, app, { acr_values: ACR, max_age: '1000' });
    expect(decodeJwt(idToken)).toMatchObject({ acr: ACR, amr: ['pwd'], auth_time: expect.any(Number) });
  });

  test('an essential acr that is not supported is an error, without a new login', async () => {
    const claims = JSON.stringify({ id_token: { acr: { essential: true, values: ['urn:example:iris-scan'] } } });
    const page = await visit({ claims });
    expect(page.leavesTo?.searchParams.get('error')).toBe('unmet_authentication_requirements');
    expect(page.leavesTo?.searchParams.get('state')).toBe('a state');
  });

  test('a voluntary acr that is not supported is not an error', async () => {
    const { idToken } = await obtainTokens(server, app, { acr_values: 'urn:example:iris-scan' });
    expect(decodeJwt(idToken).acr).toBe(ACR);
  });

  test('prompt=login and max_age=0 ask for the password again', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    expect((await visit({}, agent)).leavesTo?.searchParams.get('code')).toEqual(expect.any(String));
    for (const params of [{ prompt: 'login' }, { max_age: '0' }]) {
      expect((await visit(params, agent)).html).toContain('id="login-page"');
    }
  });

  test('prompt=select_account lets another user sign in, and is shown once', async () => {
    const carol = { username: 'carol', password: 'yet another pass phrase' };
    await server.admin.createUser(carol.username, carol.password);
    const agent = createUserAgent(server.issuer);
    const alice = await obtainTokens(server, app, { prompt: 'select_account' }, { agent });
    const url = requestUrl({ prompt: 'select_account' });
    expect((await agent.visit(url)).html).toContain('id="login-page"');
    const again = await obtainTokens(server, app, { prompt: 'select_account' }, { agent });
    expect(decodeJwt(again.idToken).sub).toBe(decodeJwt(alice.idToken).sub);
    // Another user in the same browser: the intermediate page is a form that submits itself.
    const login = await agent.visit(url);
    const change = await agent.submit(formAction(login.html, 'login'), carol);
    expect(change.html).toContain('id="form-post-page"');
    const action = /<form[^>]* action="([^"]+)"/.exec(change.html)?.[1] as string;
    const inputs = [...change.html.matchAll(/name="([^"]+)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]);
    expect((await agent.submit(action, Object.fromEntries(inputs))).html).toContain('id="consent-page"');
    const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect(metadata).toMatchObject({ prompt_values_supported: ['none', 'login', 'select_account', 'consent'] });
  });

  test('a login_hint fills in the username; ui_locales and display are ignored', async () => {
    const { html } = await visit({ login_hint: 'alice"><script>', ui_locales: 'de fr', display: 'touch' });
    expect(html).toContain('value="alice&quot;&gt;&lt;script&gt;"');
  });

  test('with an id_token_hint of another user, no tokens of the signed-in user are issued', async () => {
    await server.admin.createUser('bob', 'another pass phrase');
    const bob = { user: { username: 'bob', password: 'another pass phrase' } };
    const { idToken } = await obtainTokens(server, app, {}, bob);
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, {}, { agent });
    const page = await visit({ id_token_hint: idToken, prompt: 'none' }, agent);
    expect(page.leavesTo?.searchParams.get('error')).toBe('login_required');
  });
});

describe('pairwise subjects (OpenID Connect Core §8.1)', () => {
  const pairwise = (host: string) => ({
    ...CODE_FLOW,
    redirect_uris: [`https://${host}/callback`],
    subject_type: 'pairwise',
  });

  async function subjectAt(client: TestClient, host: string): Promise<string> {
    const redirect_uri = `https://${host}/callback`;
    const issued = await obtainCode(server, client, { redirect_uri });
    return decodeJwt(toTokens(await exchange(server, client, issued, { redirect_uri })).idToken).sub as string;
  }

  test('one user has different subjects in two sectors, and the same one in one sector', async () => {
    const shop = await server.admin.createClient(pairwise('shop.example'));
    const shopToo = await server.admin.createClient(pairwise('shop.example'));
    const news = await server.admin.createClient(pairwise('news.example'));
    const [atShop, atShopToo, atNews] = [
      await subjectAt(shop, 'shop.example'),
      await subjectAt(shopToo, 'shop.example'),
      await subjectAt(news, 'news.example'),
    ];
    expect(atShop).toBe(atShopToo);
    expect(atShop).not.toBe(atNews);
    const publicSubject = decodeJwt((await obtainTokens(server, app)).idToken).sub;
    expect([atShop, atNews]).not.toContain(publicSubject);
  });

  test('access token, introspection and userinfo have the same subject, for every caller', async () => {
    const api = await server.admin.createClient();
    const shop = await server.admin.createClient(pairwise('shop.example'));
    await server.admin.createApi(ORDERS, { scopes: ['read'], introspection_client_id: api.clientId });
    await server.admin.allow(shop.clientId, ORDERS, ['read']);
    const redirect_uri = 'https://shop.example/callback';
    const issued = await obtainCode(server, shop, { redirect_uri, resource: ORDERS, scope: 'openid read' });
    const { accessToken, idToken } = toTokens(await exchange(server, shop, issued, { redirect_uri }));
    const { sub } = decodeJwt(idToken);
    expect(decodeJwt(accessToken).sub).toBe(sub);
    for (const caller of [api, shop]) {
      const { body } = await introspect(server.issuer, caller, accessToken);
      expect(body).toMatchObject({ active: true, sub });
      // Two apps of two sectors could compare it instead.
      expect(body).not.toHaveProperty('username');
    }
  });

  test('it is the same after a restart, and in every process', async () => {
    const shop = await server.admin.createClient(pairwise('shop.example'));
    const before = await subjectAt(shop, 'shop.example');
    const { rows } = await server.sql.query('SELECT name, sealed FROM installation_secrets');
    expect(rows).toEqual([{ name: 'pairwise', sealed: expect.stringMatching(/^v1\./) }]);
    expect(before).toBe(await subjectAt(shop, 'shop.example'));
  });

  test('an operator may move an app to another sector: the tokens of the former one end', async () => {
    const shop = await server.admin.createClient(pairwise('shop.example'));
    const before = await subjectAt(shop, 'shop.example');
    const redirect_uri = 'https://shop.example/callback';
    const { accessToken } = await obtainTokens(server, shop, { redirect_uri }, {}, { redirect_uri });
    const path = `/clients/${shop.clientId}`;
    expect((await server.admin.request('PATCH', path, { client_name: 'Shop' })).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(200);
    const redirect_uris = ['https://news.example/callback'];
    expect((await server.admin.request('PATCH', path, { redirect_uris })).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(401);
    expect(await subjectAt(shop, 'news.example')).not.toBe(before);
    const events = await server.admin.request(
      'GET',
      `/audit-events?type=client.tokens_revoked&client_id=${shop.clientId}`,
    );
    expect(events.body.items).toHaveLength(1);
  });

  test('an operator may add hosts to an app with public subjects, which keeps its tokens', async () => {
    const client = await server.admin.createClient(CODE_FLOW);
    const { accessToken } = await obtainTokens(server, client);
    const redirect_uris = [REDIRECT_URI, 'https://other.example/callback'];
    expect((await server.admin.request('PATCH', `/clients/${client.clientId}`, { redirect_uris })).status).toBe(200);
    expect((await userinfo(server, accessToken)).status).toBe(200);
  });

  test('several hosts without a sector identifier are refused at registration, naming the member', async () => {
    const { status, body } = await server.admin.request('POST', '/clients', {
      ...pairwise('shop.example'),
      redirect_uris: ['https://shop.example/callback', 'https://news.example/callback'],
    });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toContain('sector_identifier_uri');
  });
});

test('form_post returns the code in a form, with iss (RFC 9207)', async () => {
  const agent = createUserAgent(server.issuer);
  await obtainCode(server, app, {}, { agent });
  const { html } = await agent.visit(requestUrl({ response_mode: 'form_post' }));
  expect(html).toContain(`action="${REDIRECT_URI}"`);
  expect(html).toMatch(/name="code"/);
  expect(html).toMatch(new RegExp(`name="iss" value="${server.issuer}"`));
});
