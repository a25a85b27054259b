// Redirect URIs of apps on the user's machine (RFC 8252 §7, §8): which ports a public client may use, when the user is asked, and what
// another program on the machine would gain. Other URIs are compared exactly: authorization-request.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
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
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, requestObject, type Signer } from '../support/signing.ts';
import { createUserAgent, formAction, type PageVisit, pkcePair, type UserAgent } from '../support/user-agent.ts';

const REGISTERED = 'http://127.0.0.1:5173/callback';
const OTHER_PORT = 'http://127.0.0.1:51004/callback';
const LOOPBACKS = [
  REGISTERED,
  'http://[::1]/callback',
  'http://localhost:5173/callback?of=app',
  'http://localhost:5173/bare',
];

let server: TestServer;
let documents: DocumentHost;
let documentMembers: Record<string, unknown> = {};
let signer: Signer;
let spa: TestClient;

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    const client_id = `https://${documents.host}${request.url}`;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ client_id, client_name: 'App', ...PUBLIC, ...documentMembers }));
  });
  server = await startTestServer({
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
    LANYARD_CLIENT_METADATA_HOSTS: documents.host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: documents.host,
  });
  signer = await newSigner('ES256');
  spa = await server.admin.createClient({
    ...{ ...CODE_FLOW, ...PUBLIC, redirect_uris: LOOPBACKS },
    jwks: { keys: [signer.publicJwk] },
    post_logout_redirect_uris: ['http://localhost:5173/bye'],
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});

const challenge = () => ({ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' });

function visit(client: TestClient, params: Params, agent = createUserAgent(server.issuer)): Promise<PageVisit> {
  return agent.visit(authorizationUrl(server.issuer, { client_id: client.clientId, ...challenge(), ...params }));
}

function push(client: TestClient, form: Record<string, string>): Promise<Answer> {
  const all = { client_id: client.clientId, response_type: 'code', scope: 'openid', ...challenge(), ...form };
  return postForm(`${server.issuer}/oauth2/par`, client, all);
}

async function registerOpenly(metadata: Record<string, unknown>): Promise<Answer> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(metadata) };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register`, init));
}

/** What a program gets that opens this URL in the browser of a user who is signed in and has allowed the app before. */
async function silently(
  client: TestClient,
  redirect_uri: string,
  agent: UserAgent,
): Promise<string | null | undefined> {
  const { leavesTo } = await visit(client, { redirect_uri, prompt: 'none' }, agent);
  return leavesTo?.searchParams.get('error') ?? (leavesTo?.searchParams.has('code') ? 'a code' : undefined);
}

describe('a public client', () => {
  test.each([
    ...LOOPBACKS,
    OTHER_PORT,
    'http://127.0.0.1/callback',
    'http://127.0.0.1:1/callback',
    'http://127.0.0.1:65535/callback',
    'http://[::1]:51004/callback',
    'http://localhost:3000/callback?of=app',
    'http://localhost:3000/bare',
  ])('may use %s', async (redirect_uri) => {
    expect((await push(spa, { redirect_uri })).status).toBe(201);
    const page = await visit(spa, { redirect_uri });
    expect(page.html).toContain('id="login-page"');
  });

  const refused: [string, string][] = [
    ['another host, of which the address is the user name', 'http://127.0.0.1:1@evil.example/callback'],
    ['another host, written with a backslash', 'http://127.0.0.1:1\\@evil.example/callback'],
    ['another host that begins like localhost', 'http://localhost.evil.example:5173/bare'],
    ['another host that begins like the address', 'http://127.0.0.1.evil.example:5173/callback'],
    ['a user name', 'http://evil@127.0.0.1:51004/callback'],
    ['https', 'https://127.0.0.1:51004/callback'],
    ['another address of the machine', 'http://127.0.0.2:51004/callback'],
    ['any address of the machine', 'http://0.0.0.0:51004/callback'],
    ['the address in the form of IPv6', 'http://[::ffff:127.0.0.1]:51004/callback'],
    ['IPv6 written out', 'http://[0:0:0:0:0:0:0:1]:51004/callback'],
    ['the address in short', 'http://127.1:51004/callback'],
    ['the address as a number', 'http://2130706433:51004/callback'],
    ['another registered host', 'http://localhost:51004/callback'],
    ['other letters', 'http://LOCALHOST:51004/bare'],
    ['another path', 'http://127.0.0.1:51004/callback/more'],
    ['a path that leads elsewhere', 'http://127.0.0.1:51004/callback/../evil'],
    ['an added query', 'http://127.0.0.1:51004/callback?next=https://evil.example'],
    ['a missing query', 'http://localhost:51004/callback'],
    ['a fragment', 'http://127.0.0.1:51004/callback#x'],
    ['port 0', 'http://127.0.0.1:0/callback'],
    ['a port that does not exist', 'http://127.0.0.1:65536/callback'],
    ['a port with a zero before it', 'http://127.0.0.1:051004/callback'],
    ['a port that is empty', 'http://127.0.0.1:/callback'],
    ['a space', 'http://127.0.0.1:51004/callback '],
  ];
  test.each(refused)('may not use %s: %s', async (_name, redirect_uri) => {
    const { status, body } = await push(spa, { redirect_uri });
    expect([status, body.error]).toEqual([400, 'invalid_request']);
    const page = await visit(spa, { redirect_uri });
    expect([page.status, page.leavesTo]).toEqual([400, undefined]);
    expect(page.html).toContain('id="error-page"');
  });

  test('may name another port in a request object too', async () => {
    const requestFor = (redirect_uri: string) =>
      requestObject(server.issuer, spa.clientId, signer, {
        response_type: 'code',
        scope: 'openid',
        redirect_uri,
        ...challenge(),
      });
    expect((await visit(spa, { request: await requestFor(OTHER_PORT) })).html).toContain('id="login-page"');
    const evil = await visit(spa, { request: await requestFor('http://127.0.0.1:1@evil.example/callback') });
    expect([evil.leavesTo, evil.html.includes('error-page')]).toEqual([undefined, true]);
  });

  test('redeems the code with the port of its request, and no other', async () => {
    const issued = await obtainCode(server, spa, { redirect_uri: OTHER_PORT });
    expect(issued.back.origin).toBe('http://127.0.0.1:51004');
    for (const redirect_uri of [REGISTERED, 'http://127.0.0.1:51005/callback']) {
      const { status, body } = await exchange(server, spa, issued, { redirect_uri });
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await exchange(server, spa, issued, { redirect_uri: OTHER_PORT })).status).toBe(200);
  });

  test('comes back to another port after a logout', async () => {
    const logout = (uri: string) => {
      const query = new URLSearchParams({ client_id: spa.clientId, post_logout_redirect_uri: uri });
      return createUserAgent(server.issuer).visit(`${server.issuer}/oauth2/logout?${query}`);
    };
    for (const uri of ['http://localhost:5173/bye', 'http://localhost:3000/bye']) {
      expect((await logout(uri)).leavesTo?.href).toBe(uri);
    }
    for (const uri of [
      'http://localhost:3000/',
      'http://localhost:3000@evil.example/bye',
      'https://localhost:3000/bye',
    ]) {
      expect((await logout(uri)).html).toContain('id="error-page"');
    }
  });
});

describe('at the registered port', () => {
  test('a single-page app renews silently, as any web app does', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainTokens(server, spa, { redirect_uri: REGISTERED }, { agent }, { redirect_uri: REGISTERED });
    expect(await silently(spa, REGISTERED, agent)).toBe('a code');
    expect((await visit(spa, { redirect_uri: REGISTERED }, agent)).leavesTo?.searchParams.has('code')).toBe(true);
  });
});

describe('another program of the machine, at another port, with the id of the app', () => {
  test('gets no code without the user: it would get the tokens that the app has been allowed', async () => {
    const agent = createUserAgent(server.issuer);
    const first = await obtainCode(server, spa, { redirect_uri: OTHER_PORT }, { agent });
    expect((await exchange(server, spa, first, { redirect_uri: OTHER_PORT })).status).toBe(200);
    // The same port again, and that of an app which has been allowed at the registered one.
    await obtainCode(server, spa, { redirect_uri: REGISTERED }, { agent });
    for (const redirect_uri of [OTHER_PORT, 'http://[::1]:51004/callback', 'http://localhost:3000/bare']) {
      expect(await silently(spa, redirect_uri, agent)).toBe('interaction_required');
      const page = await visit(spa, { redirect_uri }, agent);
      expect(page.leavesTo).toBeUndefined();
      expect(page.html).toContain('id="consent-page"');
      expect(page.html).toContain(new URL(redirect_uri).host);
    }
  });

  test('not by a pushed request either', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, spa, { redirect_uri: REGISTERED }, { agent });
    const { body } = await push(spa, { redirect_uri: OTHER_PORT, prompt: 'none' });
    const query = new URLSearchParams({ client_id: spa.clientId, request_uri: String(body.request_uri) });
    const { leavesTo } = await agent.visit(`${server.issuer}/oauth2/authorize?${query}`);
    expect([leavesTo?.searchParams.get('error'), leavesTo?.searchParams.has('code')]).toEqual([
      'interaction_required',
      false,
    ]);
  });

  test('each consent is for one request', async () => {
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, spa, { redirect_uri: OTHER_PORT }, { agent });
    for (let time = 0; time < 2; time++) {
      const page = await visit(spa, { redirect_uri: OTHER_PORT }, agent);
      expect(page.html).toContain('id="consent-page"');
      const { leavesTo } = await agent.submit(formAction(page.html, 'consent'), {});
      expect(leavesTo?.searchParams.has('code')).toBe(true);
    }
  });
});

describe('exact ports are kept by', () => {
  const members = { ...CODE_FLOW, redirect_uris: [REGISTERED], post_logout_redirect_uris: [REGISTERED] };
  test.each<[string, Record<string, unknown>]>([
    ['a confidential client', {}],
    ['a confidential client of the type native', { application_type: 'native' }],
    ['a client that authenticates with a key', { token_endpoint_auth_method: 'private_key_jwt' }],
  ])('%s, which has one place to run at', async (_name, more) => {
    const client = await server.admin.createClient({ ...members, jwks: { keys: [signer.publicJwk] }, ...more });
    expect((await visit(client, { redirect_uri: REGISTERED })).html).toContain('id="login-page"');
    const other = await visit(client, { redirect_uri: OTHER_PORT });
    expect([other.leavesTo, other.html.includes('error-page')]).toEqual([undefined, true]);
    const query = new URLSearchParams({ client_id: client.clientId, post_logout_redirect_uri: OTHER_PORT });
    const logout = await createUserAgent(server.issuer).visit(`${server.issuer}/oauth2/logout?${query}`);
    expect(logout.html).toContain('id="error-page"');
  });

  test('a client with a FAPI profile, which has https only', async () => {
    const profile = { security_profile: 'fapi2', jwks: { keys: [signer.publicJwk] } };
    const { status, body } = await server.admin.request('POST', '/clients', { ...members, ...profile });
    expect([status, body.detail]).toEqual([400, expect.stringContaining('redirect_uris must be https')]);
  });
});

describe('application_type, when it is left out', () => {
  const cases: [string, string[], string][] = [
    ['is web with loopback addresses', [REGISTERED, 'http://localhost:3000/callback'], 'web'],
    ['is web with https', [REDIRECT_URI], 'web'],
    ['is native with a private scheme', ['com.example.app:/callback'], 'native'],
    ['is native with one private scheme of several', [REDIRECT_URI, 'cursor://anysphere.cursor/callback'], 'native'],
  ];

  test.each(cases)(
    '%s, by the admin API, at dynamic registration and in a document alike',
    async (name, redirect_uris, type) => {
      const byAdmin = await server.admin.request('POST', '/clients', { ...PUBLIC, redirect_uris });
      expect([byAdmin.status, byAdmin.body.application_type]).toEqual([201, type]);
      const byItself = await registerOpenly({ ...PUBLIC, redirect_uris });
      expect([byItself.status, byItself.body.application_type]).toEqual([201, type]);

      documentMembers = { redirect_uris };
      const clientId = `https://${documents.host}/${encodeURIComponent(name)}.json`;
      const [redirect_uri] = redirect_uris;
      expect((await visit({ clientId, clientSecret: '' }, { redirect_uri })).html).toContain('id="login-page"');
      const { body } = await server.admin.request('GET', `/clients/${encodeURIComponent(clientId)}`);
      expect(body.application_type).toBe(type);
    },
  );

  test('a script is no private scheme', async () => {
    for (const uri of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'vbscript:x']) {
      expect((await registerOpenly({ ...PUBLIC, redirect_uris: [uri] })).body.error).toBe('invalid_redirect_uri');
    }
  });

  test('the user of an app with a private scheme is asked each time: other apps may claim it (RFC 8252 §8.6)', async () => {
    const redirect_uri = 'com.example.app:/callback';
    const { body } = await registerOpenly({ ...PUBLIC, redirect_uris: [redirect_uri] });
    const app = { clientId: String(body.client_id), clientSecret: '' };
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, app, { redirect_uri }, { agent });
    expect(await silently(app, redirect_uri, agent)).toBe('interaction_required');
  });

  test('a native client may use another port as before, and is asked each time at any', async () => {
    const native = { ...CODE_FLOW, ...PUBLIC, redirect_uris: [REGISTERED], application_type: 'native' };
    const client = await server.admin.createClient(native);
    const agent = createUserAgent(server.issuer);
    await obtainCode(server, client, { redirect_uri: OTHER_PORT }, { agent });
    for (const redirect_uri of [REGISTERED, OTHER_PORT]) {
      expect(await silently(client, redirect_uri, agent)).toBe('interaction_required');
    }
  });
});
