// Clients that are known by the address of a document about themselves, over time and in the wrong hands: the document is somebody
// else's, changes, disappears, says more than it may; its host does not answer; an operator has had enough of it.

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

/** Publishes a document at a new address, or at the one of a client. */
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

/** A new engine has fetched nothing yet. */
async function forgetDocuments(): Promise<void> {
  const { status } = await server.admin.request('POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 0 });
  expect(status).toBeLessThan(300);
}

const adminPath = ({ clientId }: TestClient) => `/clients/${encodeURIComponent(clientId)}`;

function signInUrl({ clientId }: TestClient): string {
  const { challenge } = pkcePair();
  return authorizationUrl(server.issuer, {
    client_id: clientId,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
}

describe('what a document says', () => {
  test('may be written for other servers too: scopes of APIs and unknown members do no harm', async () => {
    const app = publish({ scope: 'openid read mcp:tools', software_id: 'x', an_unknown_member: { a: 1 } });
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
    expect(decodeJwt(accessToken).scope).toBe('read');
  });

  test('counts in any kind of JSON', async () => {
    await obtainTokens(
      server,
      publish({}, { 'content-type': 'application/oauth-client-metadata+json; charset=utf-8' }),
    );
  });

  const faults: [string, Record<string, unknown>, Record<string, string>?][] = [
    ['with redirect URIs over http', { redirect_uris: [REDIRECT_URI, 'http://app.example/'] }],
    ['with a script after the logout', { application_type: 'native', post_logout_redirect_uris: ['javascript:x'] }],
    ['with logout notices over http', { backchannel_logout_uri: 'http://app.example/' }],
    ['with a script as policy', { policy_uri: 'javascript:alert(1)' }],
    ['with a name that turns round', { client_name: '\u202eknaB ruoY' }],
    ['with a name of 5000 characters', { client_name: 'x'.repeat(4900) }],
    ['that contradicts its profile', { security_profile: 'fapi2' }],
    ['that names another client', { client_id: 'https://somebody.example/client.json' }],
    ['that names its address in another spelling', { client_id: `https://${'LOCALHOST'}/x` }],
    ['with an expiry for a secret', { client_secret_expires_at: 0 }],
    ['with another secret method', { token_endpoint_auth_method: 'client_secret_post' }],
    ['without an authentication method, which is one by secret', { token_endpoint_auth_method: undefined }],
    ['that a host shows as a page: what people upload is no document', {}, { 'content-type': 'text/html' }],
    ['without a content type', {}, { 'content-type': '' }],
  ];
  test.each(faults)('%s makes no client', async (_name, changes, headers = {}) => {
    const app = publish(changes, headers);
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
    expect((await server.admin.request('GET', adminPath(app))).status).toBe(404);
  });

  test('does not reach what concerns operators, nor make this server fetch anything else', async () => {
    const app = publish({
      refresh_token_grace_seconds: 1e9,
      authorization_details_types: ['payment'],
      sector_identifier_uri: `https://${documents.host}/sector`,
    });
    await obtainTokens(server, app);
    const { body } = await server.admin.request('GET', adminPath(app));
    expect(body).not.toHaveProperty('refresh_token_grace_seconds');
    expect(body.authorization_details_types ?? []).toEqual([]);
    expect(fetched).toHaveLength(1);
  });
});

describe('a document that disappears', () => {
  test('ends nothing that was given, and begins nothing new; nobody waits for its host', async () => {
    const app = publish();
    const { accessToken, refreshToken } = await obtainTokens(server, app, SCOPE);
    const { accessToken: forUserinfo } = await obtainTokens(server, app);
    withdraw();
    await forgetDocuments();
    fetched = [];
    expect(await isActive(server, introspector, accessToken)).toBe(true);
    const userinfo = await fetch(`${server.issuer}/oauth2/userinfo`, {
      headers: { authorization: `Bearer ${forUserinfo}` },
    });
    expect([userinfo.status, fetched]).toEqual([200, []]);
    expect((await refresh(server, app, refreshToken)).body.error).toBe('invalid_client');
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
    publish({}, {}, app);
    expect((await refresh(server, app, refreshToken)).status).toBe(200);
  });

  test('does not disturb a user who is signing in', async () => {
    const app = publish();
    const agent = createUserAgent(server.issuer);
    const login = await agent.visit(signInUrl(app));
    withdraw();
    await forgetDocuments();
    const consent = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
    const { leavesTo } = await agent.submit(formAction(consent.html, 'consent'), {});
    expect(leavesTo?.href).toMatch(/^https:\/\/app\.example\/callback\?code=/);
  });

  test('is asked for again each time, so often and no more: failures are not remembered', async () => {
    withdraw();
    for (let attempt = 0; attempt < 65; attempt++) {
      const clientId = `https://${documents.host}/missing-${attempt % 3}.json`;
      await createUserAgent(server.issuer).visit(signInUrl({ clientId, clientSecret: '' }));
    }
    expect(fetched).toHaveLength(60);
  });
});

describe('a document that changes', () => {
  test('changes what operators see, with a trace', async () => {
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

  test('no longer sends users where it did', async () => {
    const app = publish();
    await obtainTokens(server, app);
    publish({ redirect_uris: ['https://moved.example/'] }, {}, app);
    await forgetDocuments();
    await expect(obtainCode(server, app)).rejects.toThrow(/error-page/);
  });
});

test('the subject of a client that asks for pairwise ones is the same in its tokens and in introspection', async () => {
  const app = publish({ subject_type: 'pairwise' });
  const { accessToken, idToken } = await obtainTokens(server, app, { scope: 'openid read', resource: API });
  const { sub } = decodeJwt(idToken);
  const { rows } = await server.sql.query('SELECT id FROM users WHERE username = $1', [ALICE.username]);
  expect(sub).not.toBe(rows[0].id);
  expect((await introspect(server.issuer, introspector, accessToken)).body).toMatchObject({ active: true, sub });
});

describe('an operator', () => {
  test('cannot change what a document says, nor give it a secret', async () => {
    const app = publish();
    await obtainTokens(server, app);
    const changed = await server.admin.request('PATCH', adminPath(app), { client_name: 'Another' });
    const secret = await server.admin.request('POST', `${adminPath(app)}/secrets`, {});
    expect([changed.status, secret.status]).toEqual([409, 409]);
  });

  test('who has disabled such a client finds it disabled for ever: idle ones that come back would be enabled', async () => {
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

test('where no host may describe clients, nothing is fetched, and discovery does not offer it', async () => {
  const plain = await startTestServer();
  const metadata = (await (await fetch(`${plain.issuer}/.well-known/oauth-authorization-server`)).json()) as object;
  expect(metadata).not.toHaveProperty('client_id_metadata_document_supported', true);
  const { clientId } = publish();
  const url = authorizationUrl(plain.issuer, { client_id: clientId });
  expect((await createUserAgent(plain.issuer).visit(url)).html).toContain('error-page');
  expect(fetched).toEqual([]);
  await plain.stop();
});
