// Client ID metadata documents: documents that are invalid, change, disappear or claim more than
// they may; hosts that do not answer; clients that an operator has disabled.

import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { removeIdleClients } from '../../src/clients/registration/idle-clients.ts';
import { introspect, type TestClient } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import {
  ALICE,
  authorizationUrl,
  isActive,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
  refresh,
  userinfo,
} from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const API = 'https://open.example';
const SCOPE = { scope: 'openid read offline_access', resource: API, prompt: 'consent' };

let server: TestServer;
let introspector: TestClient;
let documents: DocumentHost;
let answer: RequestListener;
let fetched: string[] = [];

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    fetched.push(request.url ?? '');
    answer(request, response);
  });
  const { host } = documents;
  server = await startTestServer({ LANYARD_CLIENT_METADATA_HOSTS: host, LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host });
  introspector = await server.admin.createClient();
  await server.admin.createApi(API, {
    scopes: ['read'],
    introspection_client_id: introspector.clientId,
    self_registered_clients: { scopes: ['read'] },
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});
beforeEach(async () => {
  fetched = [];
  await server.sql.query('DELETE FROM login_throttle');
});

let count = 0;

/** Publishes a document at a new URL, or at that of a client. */
function publish(changes: Record<string, unknown> = {}, headers: Record<string, string> = {}, at?: TestClient) {
  const clientId = at?.clientId ?? `https://${documents.host}/${++count}.json`;
  const document = {
    client_id: clientId,
    client_name: 'Agent',
    redirect_uris: [REDIRECT_URI],
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    ...changes,
  };
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(document));
  };
  return { clientId, clientSecret: '' };
}

function withdraw(): void {
  answer = (_request, response) => response.writeHead(404).end();
}

/** A new engine has no cached document. */
async function forgetDocuments(): Promise<void> {
  const { status } = await server.admin.request('POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 0 });
  expect(status).toBeLessThan(300);
}

const adminPath = ({ clientId }: TestClient) => `/clients/${encodeURIComponent(clientId)}`;

function signInUrl({ clientId }: TestClient, redirectUri = REDIRECT_URI): string {
  const { challenge } = pkcePair();
  return authorizationUrl(server.issuer, {
    client_id: clientId,
    redirect_uri: redirectUri,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
}

describe('the content of a document', () => {
  test('may be for other servers too: unknown scopes and members are ignored', async () => {
    const app = publish({ scope: 'openid read mcp:tools', software_id: 'x', an_unknown_member: { a: 1 } });
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
    expect(decodeJwt(accessToken).scope).toBe('openid read');
  });

  test('may have any JSON content type', async () => {
    await obtainTokens(
      server,
      publish({}, { 'content-type': 'application/oauth-client-metadata+json; charset=utf-8' }),
    );
  });

  const faults: [string, Record<string, unknown>, Record<string, string>?][] = [
    ['with redirect URIs over http', { redirect_uris: [REDIRECT_URI, 'http://app.example/'] }],
    [
      'with a script as post-logout redirect URI',
      { application_type: 'native', post_logout_redirect_uris: ['javascript:x'] },
    ],
    ['with a back-channel logout URI over http', { backchannel_logout_uri: 'http://app.example/' }],
    ['with a script as policy', { policy_uri: 'javascript:alert(1)' }],
    ['with a right-to-left override in its name', { client_name: '\u202eknaB ruoY' }],
    ['with a zero-width character in its name', { client_name: 'Ag\u200bent' }],
    ['with the name of this server', { client_name: 'Lanyard' }],
    ['with a name of 5000 characters', { client_name: 'x'.repeat(4900) }],
    ['that contradicts its profile', { security_profile: 'fapi2' }],
    ['that names another client', { client_id: 'https://other.example/client.json' }],
    ['that names its URL in another spelling', { client_id: `https://${'LOCALHOST'}/x` }],
    ['with an expiry for a secret', { client_secret_expires_at: 0 }],
    ['with an authentication by secret', { token_endpoint_auth_method: 'client_secret_post' }],
    ['without an authentication method, which means one by secret', { token_endpoint_auth_method: undefined }],
    ['with the content type of a page, such as an upload of a user', {}, { 'content-type': 'text/html' }],
    ['without a content type', {}, { 'content-type': '' }],
  ];
  test.each(faults)('%s is refused', async (_name, changes, headers = {}) => {
    const app = publish(changes, headers);
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
    expect((await server.admin.request('GET', adminPath(app))).status).toBe(404);
  });

  test('with an authentication method that is not offered is refused, and the log names those that are', async () => {
    const app = publish({ token_endpoint_auth_method: 'client_secret_jwt' });
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
    const refused = server.logLines.filter((line) => line.includes('a document of a client was refused'));
    expect(refused.at(-1)).toContain('client_secret_jwt is not offered: use one of client_secret_basic');
  });

  test('cannot set members for operators, or make this server fetch another URL', async () => {
    const app = publish({
      refresh_token_grace_seconds: 1e9,
      refresh_token_reuse_in_grace: true,
      authorization_details_types: ['payment'],
      sector_identifier_uri: `https://${documents.host}/sector`,
    });
    await obtainTokens(server, app);
    const { body } = await server.admin.request('GET', adminPath(app));
    expect(body).not.toHaveProperty('refresh_token_grace_seconds');
    expect(body).not.toHaveProperty('refresh_token_reuse_in_grace');
    expect(body.authorization_details_types ?? []).toEqual([]);
    expect(fetched).toHaveLength(1);
  });
});

test('documents are registrations: one address adds twenty new clients an hour, known ones go on', async () => {
  const countClients = async () => (await server.sql.query('SELECT count(*)::int AS count FROM clients')).rows[0].count;
  const before = await countClients();
  const begin = (app: TestClient) => fetch(signInUrl(app), { redirect: 'manual' });
  const known = publish();
  const statuses = [(await begin(known)).status];
  for (let n = 0; n < 24; n++) statuses.push((await begin(publish())).status);
  expect(statuses).toEqual([...Array<number>(20).fill(303), ...Array<number>(5).fill(429)]);
  expect((await countClients()) - before).toBe(20);
  const refused = await begin(publish());
  expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([429, true]);
  expect((await begin(known)).status).toBe(303);
});

test('a whole office that uses a new app for the first time at once is one registration', async () => {
  const app = publish();
  const begin = () => fetch(signInUrl(app), { redirect: 'manual' });
  const statuses = await Promise.all(Array.from({ length: 25 }, async () => (await begin()).status));
  expect(statuses).toEqual(Array<number>(25).fill(303));
  const { rows } = await server.sql.query("SELECT points FROM login_throttle WHERE key LIKE 'registration%'");
  expect(rows).toEqual([{ points: 1 }]);
});

describe('a document that disappears', () => {
  test('issued tokens stay valid, no new one is issued, and no other request waits for its host', async () => {
    const app = publish();
    const { accessToken, refreshToken } = await obtainTokens(server, app, SCOPE);
    const { accessToken: forUserinfo } = await obtainTokens(server, app);
    withdraw();
    await forgetDocuments();
    fetched = [];
    expect(await isActive(server, introspector, accessToken)).toBe(true);
    expect([(await userinfo(server, forUserinfo)).status, fetched]).toEqual([200, []]);
    expect((await refresh(server, app, refreshToken)).body.error).toBe('invalid_client');
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
    publish({}, {}, app);
    expect((await refresh(server, app, refreshToken)).status).toBe(200);
  });

  test('a user who is signing in can finish', async () => {
    const app = publish();
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(signInUrl(app));
    withdraw();
    await forgetDocuments();
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    const { leavesTo } = await agent.submit(formAction(consent.html, 'consent'), {});
    expect(leavesTo?.href).toMatch(/^https:\/\/app\.example\/callback\?code=/);
  });

  test('is fetched again each time, up to a limit: failures are not cached', async () => {
    withdraw();
    for (let attempt = 0; attempt < 65; attempt++) {
      const clientId = `https://${documents.host}/missing-${attempt % 3}.json`;
      await createUserAgent(server.issuer).visit(signInUrl({ clientId, clientSecret: '' }));
    }
    expect(fetched).toHaveLength(60);
  });
});

describe('a document that changes', () => {
  test('changes the client that operators see, with an audit event', async () => {
    const app = publish();
    await obtainTokens(server, app);
    publish({ client_name: 'Renamed', redirect_uris: [REDIRECT_URI, 'https://moved.example/'] }, {}, app);
    await forgetDocuments();
    await obtainTokens(server, app);
    const { body } = await server.admin.request('GET', adminPath(app));
    expect(body).toMatchObject({ client_name: 'Renamed', redirect_uris: [REDIRECT_URI, 'https://moved.example/'] });
    const path = `/audit-events?type=client.changed&client_id=${encodeURIComponent(app.clientId)}`;
    const events = await server.admin.request('GET', path);
    expect(events.body.items).toEqual([expect.objectContaining({ actor: `client:${app.clientId}` })]);
  });

  test('the former redirect URI is refused', async () => {
    const app = publish();
    await obtainTokens(server, app);
    publish({ redirect_uris: ['https://moved.example/'] }, {}, app);
    await forgetDocuments();
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
  });
});

describe('a document that changes after a user has allowed its app', () => {
  test('cannot name the host of another app, whose subjects the old tokens would tell', async () => {
    const app = publish({ subject_type: 'pairwise' });
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
    const { accessToken: forUserinfo } = await obtainTokens(server, app);
    const { sub } = (await userinfo(server, forUserinfo)).body;
    publish({ subject_type: 'pairwise', redirect_uris: ['https://bank.example/callback'] }, {}, app);
    await forgetDocuments();
    const { html } = await createUserAgent(server.issuer).visit(signInUrl(app));
    expect(html).toContain('redirect_uris must keep its host');
    expect((await userinfo(server, forUserinfo)).body).toMatchObject({ sub });
    expect((await introspect(server.issuer, introspector, accessToken)).body).toMatchObject({ active: true, sub });
    expect((await server.admin.request('GET', adminPath(app))).body.redirect_uris).toEqual([REDIRECT_URI]);
    publish({ subject_type: 'public' }, {}, app);
    await forgetDocuments();
    expect((await createUserAgent(server.issuer).visit(signInUrl(app))).html).toContain('subject_type cannot be');
    publish({ subject_type: 'pairwise' }, {}, app);
    await forgetDocuments();
    await obtainTokens(server, app);
  });

  test('gets no code at another host without asking the user, and the tokens end', async () => {
    const app = publish();
    const agent = createUserAgent(server.issuer);
    const { accessToken } = await obtainTokens(server, app, {}, { agent });
    const moved = 'https://bank.example/callback';
    publish({ redirect_uris: [REDIRECT_URI, moved] }, {}, app);
    await forgetDocuments();
    const { html } = await agent.visit(`${signInUrl(app, moved)}`);
    expect(html).toContain('id="consent-page"');
    expect((await userinfo(server, accessToken)).status).toBe(401);
    await obtainTokens(server, app);
  });
});

test('a pairwise subject is the same in tokens and in introspection', async () => {
  const app = publish({ subject_type: 'pairwise' });
  const { accessToken, idToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
  const { sub } = decodeJwt(idToken);
  const { rows } = await server.sql.query('SELECT id FROM users WHERE username = $1', [ALICE.username]);
  expect(sub).not.toBe(rows[0].id);
  expect((await introspect(server.issuer, introspector, accessToken)).body).toMatchObject({ active: true, sub });
});

describe('an operator', () => {
  test('cannot change the members of a document, or add a secret', async () => {
    const app = publish();
    await obtainTokens(server, app);
    const changed = await server.admin.request('PATCH', adminPath(app), { client_name: 'Another' });
    const secret = await server.admin.request('POST', `${adminPath(app)}/secrets`, {});
    expect([changed.status, secret.status]).toEqual([409, 409]);
  });

  test('a disabled client is not removed when it is idle, since it would come back enabled', async () => {
    const app = publish();
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
    await server.admin.request('POST', `${adminPath(app)}/disable`);
    await server.sql.query(`UPDATE clients SET created_at = now() - interval '90 days' WHERE client_id = $1`, [
      app.clientId,
    ]);
    // The time of the last use is written after the answer.
    const age = `UPDATE client_uses SET last_used_at = now() - interval '90 days' WHERE client_id = $1`;
    await until(async () => (await server.sql.query(age, [app.clientId])).rowCount === 1, 'the row of the last use');
    const query = async (statement: { text: string }, values: unknown[]) => {
      const { rows, rowCount } = await server.sql.query(statement.text, values);
      return { rows, rowCount: rowCount ?? 0 };
    };
    expect((await server.admin.request('GET', '/idle-clients?days=30')).body.items).toEqual([]);
    await removeIdleClients(query as never, 30);
    expect(await isActive(server, introspector, accessToken)).toBe(false);
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
  });
});

test('without allowed hosts nothing is fetched, and discovery does not announce it', async () => {
  const plain = await startTestServer();
  const metadata = (await (await fetch(`${plain.issuer}/.well-known/oauth-authorization-server`)).json()) as object;
  expect(metadata).not.toHaveProperty('client_id_metadata_document_supported', true);
  const { clientId } = publish();
  const url = authorizationUrl(plain.issuer, { client_id: clientId });
  expect((await createUserAgent(plain.issuer).visit(url)).html).toContain('error-page');
  expect(fetched).toEqual([]);
  await plain.stop();
});
