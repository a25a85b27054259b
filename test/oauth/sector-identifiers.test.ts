// `sector_identifier_uri` (OpenID Connect Registration §5): the document there must list all redirect URIs, or a client could learn the
// subjects of another sector. An operator may name one, and a client with an initial access token; others are refused by name. A client that
// names one makes this server send a request, so there is a limit.

import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type Answer, type TestClient, toAnswer } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ALICE, authorizationUrl, obtainTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair } from '../support/user-agent.ts';

const APPS = ['https://one.example/callback', 'https://two.example/callback'];

let server: TestServer;
let documents: DocumentHost;
let sector: string;
let fetched: string[] = [];
let published: unknown;
let answer: RequestListener;

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    fetched.push(request.url ?? '');
    response.setHeader('content-type', 'application/json');
    answer(request, response);
  });
  const { host } = documents;
  sector = `https://${host}/sector.json`;
  server = await startTestServer({
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});
beforeEach(async () => {
  fetched = [];
  published = APPS;
  answer = (_request, response) => response.end(JSON.stringify(published));
  await server.sql.query('DELETE FROM login_throttle');
});

const pairwise = (members: Record<string, unknown> = {}) => ({
  ...{ redirect_uris: APPS, subject_type: 'pairwise', sector_identifier_uri: sector },
  ...members,
});

async function call(method: string, path: string, token: string | undefined, body: unknown): Promise<Answer> {
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const init = { method, headers, body: JSON.stringify(body) };
  return toAnswer(await fetch(`${server.issuer}/oauth2/register${path}`, init));
}

async function initialToken(maxUses = 10): Promise<string> {
  const { body } = await server.admin.request('POST', '/initial-access-tokens', { max_uses: maxUses });
  return String(body.token);
}

describe('of a client of an operator', () => {
  const register = (members?: Record<string, unknown>) => server.admin.request('POST', '/clients', pairwise(members));

  test('is accepted if its document lists all redirect URIs', async () => {
    const { status, body } = await register();
    expect([status, fetched]).toEqual([201, ['/sector.json']]);
    const path = `/clients/${body.client_id}`;
    const moved = await server.admin.request('PATCH', path, { redirect_uris: ['https://three.example/callback'] });
    expect(moved.body).toMatchObject({ status: 400, errors: [{ pointer: '/sector_identifier_uri' }] });
    expect((await server.admin.request('PATCH', path, { client_name: 'Renamed' })).status).toBe(200);
    expect(fetched).toHaveLength(2);
  });

  test.each([
    ['lists only some', [APPS[0]]],
    ['is no list', { redirect_uris: APPS }],
    ['is no list of strings', [...APPS, 7]],
  ])('is refused when the document %s', async (_name, document) => {
    published = document;
    expect((await register()).body).toMatchObject({ status: 400, errors: [{ pointer: '/sector_identifier_uri' }] });
  });

  test('is refused when its host does not answer, or is internal', async () => {
    for (const uri of ['https://127.0.0.1:1/sector.json', 'https://169.254.169.254/sector.json']) {
      const { body } = await register({ sector_identifier_uri: uri });
      expect(body).toMatchObject({ status: 400, errors: [{ pointer: '/sector_identifier_uri' }] });
    }
  });
});

describe('of a client with an initial access token', () => {
  test('is accepted if its document lists all redirect URIs: two apps know a user by one subject', async () => {
    const token = await initialToken();
    const subjects: unknown[] = [];
    for (const redirect_uri of APPS) {
      const { status, body } = await call('POST', '', token, pairwise({ redirect_uris: [redirect_uri] }));
      expect([status, body.sector_identifier_uri]).toEqual([201, sector]);
      const app: TestClient = { clientId: String(body.client_id), clientSecret: String(body.client_secret) };
      const { idToken } = await obtainTokens(server, app, { redirect_uri }, {}, { redirect_uri });
      subjects.push(decodeJwt(idToken).sub);
    }
    expect(subjects[0]).toBe(subjects[1]);
    // Not at their sign-in: anybody could make this server send requests, and an outage there would be one here.
    expect(fetched).toHaveLength(2);
  });

  test.each<[string, unknown, RegExp]>([
    ['does not list its redirect URIs', ['https://bank.example/callback'], /all registered redirect_uris must be/],
    ['is no list', { redirect_uris: APPS }, /single JSON array/],
  ])(
    'is refused when the document %s: it would learn the subjects of apps of another owner',
    async (_name, document, description) => {
      published = document;
      const token = await initialToken(1);
      const { status, body } = await call('POST', '', token, pairwise());
      expect([status, body.error]).toEqual([400, 'invalid_client_metadata']);
      expect(body.error_description).toMatch(description);
      published = APPS;
      expect((await call('POST', '', token, pairwise())).status).toBe(201);
    },
  );

  test('no other machine of the network is reached through it', async () => {
    for (const uri of ['https://169.254.169.254/latest', 'https://127.0.0.1:5432/', 'https://localhost/sector.json']) {
      const { status, body } = await call('POST', '', await initialToken(), pairwise({ sector_identifier_uri: uri }));
      expect([status, body.error_description]).toEqual([400, 'could not load sector_identifier_uri response']);
    }
  });

  test('a token that is unknown or used up does not make this server send a request', async () => {
    const used = await initialToken(1);
    expect((await call('POST', '', used, { redirect_uris: APPS })).status).toBe(201);
    for (const token of [used, 'lyi_made-up']) expect((await call('POST', '', token, pairwise())).status).toBe(401);
    expect(fetched).toEqual([]);
  });

  test('refused registrations, which do not use up the token, make 60 requests a minute', async () => {
    published = [];
    const token = await initialToken(1);
    const statuses: number[] = [];
    for (let n = 0; n < 62; n++) statuses.push((await call('POST', '', token, pairwise())).status);
    expect([statuses.filter((status) => status === 400).length, statuses.slice(-2)]).toEqual([60, [429, 429]]);
    expect(fetched).toHaveLength(60);
    // What needs no request is not limited.
    expect((await call('POST', '', token, { redirect_uris: APPS })).status).toBe(201);
  });

  test('is checked again when it or the redirect URIs change (RFC 7592), within the same limit', async () => {
    const { body } = await call('POST', '', await initialToken(), pairwise({ redirect_uris: [APPS[0]] }));
    const put = (members: Record<string, unknown>) =>
      call('PUT', `/${body.client_id}`, String(body.registration_access_token), {
        ...pairwise({ redirect_uris: [APPS[0]], client_id: body.client_id }),
        ...members,
      });
    expect((await put({ client_name: 'Renamed' })).status).toBe(200);
    // A client cannot remove it: its users would get other subjects.
    const kept = await put({ sector_identifier_uri: undefined });
    expect([kept.status, kept.body.sector_identifier_uri]).toEqual([200, sector]);
    expect(fetched).toHaveLength(1);
    expect((await put({ redirect_uris: APPS })).status).toBe(200);
    const foreign = await put({ redirect_uris: ['https://three.example/callback'] });
    expect([foreign.status, foreign.body.error]).toEqual([400, 'invalid_client_metadata']);
    expect(fetched).toHaveLength(3);
    await server.sql.query('UPDATE login_throttle SET points = 60');
    expect((await put({})).status).toBe(429);
    expect(fetched).toHaveLength(3);
  });
});

test('a client that had no use for redirect URIs cannot get the subjects of another sector with them later', async () => {
  published = ['https://bank.example/callback'];
  const idle = { grant_types: ['refresh_token'], response_types: [] };
  const redirect_uris = ['https://evil.example/callback'];
  const { status, body } = await call('POST', '', await initialToken(), pairwise({ ...idle, redirect_uris }));
  expect(status).toBe(201);
  const change = { grant_types: ['authorization_code'], response_types: ['code'] };
  const own = pairwise({ ...change, redirect_uris, client_id: body.client_id });
  const byItself = await call('PUT', `/${body.client_id}`, String(body.registration_access_token), own);
  expect([byItself.status, byItself.body.error]).toEqual([400, 'invalid_client_metadata']);
  const byOperator = await server.admin.request('PATCH', `/clients/${body.client_id}`, change);
  expect(byOperator.body).toMatchObject({ status: 400, errors: [{ pointer: '/sector_identifier_uri' }] });
});

describe('of a client that nobody has let in is refused by name, and not fetched', () => {
  const REFUSED = 'sector_identifier_uri can be set by operators, or with an initial access token';

  test('at open registration, with one host or two, and at a change', async () => {
    for (const redirect_uris of [APPS, [APPS[0]]]) {
      const { status, body } = await call('POST', '', undefined, pairwise({ redirect_uris }));
      expect([status, body]).toEqual([400, { error: 'invalid_client_metadata', error_description: REFUSED }]);
    }
    const { body: own } = await call('POST', '', undefined, { redirect_uris: [APPS[0]], subject_type: 'pairwise' });
    const changed = pairwise({ redirect_uris: [APPS[0]], client_id: own.client_id });
    const { status, body } = await call('PUT', `/${own.client_id}`, String(own.registration_access_token), changed);
    expect([status, body.error_description]).toEqual([400, REFUSED]);
    expect(fetched).toEqual([]);
  });

  test('in a metadata document with pairwise subjects, where the log says so', async () => {
    const client_id = `https://${documents.host}/client.json`;
    const metadata = { client_id, client_name: 'App', token_endpoint_auth_method: 'none' };
    answer = (_request, response) => response.end(JSON.stringify(pairwise(metadata)));
    const url = authorizationUrl(server.issuer, {
      ...{ client_id, redirect_uri: APPS[0], code_challenge_method: 'S256' },
      code_challenge: pkcePair().challenge,
    });
    expect((await createUserAgent(server.issuer).visit(url)).html).toContain('error-page');
    expect(new Set(fetched)).toEqual(new Set(['/client.json']));
    expect(server.logLines.filter((line) => line.includes(REFUSED))).not.toEqual([]);
  });
});
