// What a stranger can store: requests without a user and without an authenticated client. Without
// limits one address fills the disk with logins, pushed requests and device codes.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { LIMITS } from '../../src/config/oauth-variables.ts';
import { postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { authorizationUrl, CODE_FLOW, obtainCode, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner } from '../support/signing.ts';
import { createUserAgent, pkcePair } from '../support/user-agent.ts';

const PER_ADDRESS = 8;
const PER_CLIENT = 20;
const MAX_BYTES = 4_096;

let server: TestServer;
let spa: TestClient;
let backend: TestClient;
/** Of each test another one, so that none has used up the budget of the next. */
let lastAddress = 0;
const newAddress = () => `203.0.113.${++lastAddress}`;

const newClient = (members: Record<string, unknown> = PUBLIC) =>
  server.admin.createClient({
    ...CODE_FLOW,
    ...members,
    grant_types: [...CODE_FLOW.grant_types, DEVICE_GRANT],
    post_logout_redirect_uris: ['https://app.example/bye'],
  });

beforeAll(async () => {
  server = await startTestServer({
    LANYARD_TRUST_PROXY: '127.0.0.1',
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
    LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: String(PER_ADDRESS),
    LANYARD_ANONYMOUS_WRITES_PER_CLIENT: String(PER_CLIENT),
  });
  spa = await newClient();
  backend = await newClient({});
});
afterAll(() => server.stop());

const TABLES = ['oidc_artifacts', 'revoked_tokens', 'replay_guard', 'device_polls', 'audit_events', 'login_throttle'];

async function countRows(): Promise<number> {
  const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table})`).join(' + ');
  const { rows } = await server.sql.query(`SELECT (${counts})::int AS count`);
  return rows[0].count;
}

const requestOf = ({ clientId }: TestClient, more: Record<string, string> = {}) => ({
  ...{ client_id: clientId, response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid' },
  ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' },
  ...more,
});

interface Sent {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

type Send = (client: TestClient, address: string, more?: Record<string, string>) => Promise<Sent>;

const post =
  (path: string): Send =>
  async (client, address, more = {}) => {
    const form = path.endsWith('par') ? requestOf(client, more) : { scope: 'openid', ...more };
    const answer = await postForm(server.issuer + path, client, form, { 'x-forwarded-for': address });
    return { ...answer, text: JSON.stringify(answer.body) };
  };

const authorize: Send = async (client, address, more = {}) => {
  const url = authorizationUrl(server.issuer, requestOf(client, more));
  const answer = await fetch(url, { redirect: 'manual', headers: { 'x-forwarded-for': address } });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
};

const open = (path: string, address: string, more: Record<string, string> = {}) =>
  fetch(server.issuer + path, { redirect: 'manual', headers: { 'x-forwarded-for': address, ...more } });

const ENDPOINTS: [string, number, Send][] = [
  ['a pushed request', 201, post('/oauth2/par')],
  ['a device code', 200, post('/oauth2/device_authorization')],
  ['a login page', 303, authorize],
];

describe.each(ENDPOINTS)('%s', (_what, accepted, send) => {
  test('is stored for one address so often, then it gets 429 and stores nothing; others go on', async () => {
    const client = await newClient();
    const address = newAddress();
    const before = await countRows();
    const answers = await Promise.all(Array.from({ length: 3 * PER_ADDRESS }, () => send(client, address)));
    expect(answers.filter(({ status }) => status === accepted)).toHaveLength(PER_ADDRESS);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(2 * PER_ADDRESS);
    for (const { headers, text } of refused) {
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      expect(text).toContain('temporarily_unavailable');
    }
    expect((await countRows()) - before).toBe(PER_ADDRESS);
    expect((await send(client, newAddress())).status).toBe(accepted);
  });

  test('is stored for one client so often, wherever it comes from; other clients go on', async () => {
    const client = await newClient();
    const before = await countRows();
    const answers = await Promise.all(Array.from({ length: PER_CLIENT + 5 }, () => send(client, newAddress())));
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
    expect((await countRows()) - before).toBe(PER_CLIENT);
    expect((await send(await newClient(), newAddress())).status).toBe(accepted);
  });

  test.each([
    ['a parameter', { nonce: 'x'.repeat(MAX_BYTES) }],
    ['a claims request', { claims: JSON.stringify({ id_token: { [`a${'x'.repeat(MAX_BYTES)}`]: null } }) }],
    ['one that nobody knows', { unknown: 'x'.repeat(MAX_BYTES) }],
  ])('is refused with %s of more than 4 KB, and names the limit', async (_which, more) => {
    const client = await newClient();
    const before = await countRows();
    const answer = await send(client, newAddress(), more);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining(`${MAX_BYTES} bytes`)]);
    expect((await countRows()) - before).toBe(0);
    expect((await send(client, newAddress(), { nonce: 'x'.repeat(3_000) })).status).toBe(accepted);
  });
});

test('a client that anyone may register has them, although it authenticates with the secret that it was given', async () => {
  const registered = await fetch(`${server.issuer}/oauth2/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': newAddress() },
    body: JSON.stringify({ redirect_uris: [REDIRECT_URI] }),
  });
  const { body } = await toAnswer(registered);
  const own = { ...backend, clientId: String(body.client_id), clientSecret: String(body.client_secret) };
  const address = newAddress();
  const push = () => post('/oauth2/par')(own, address);
  for (let n = 0; n < PER_ADDRESS; n++) expect((await push()).status).toBe(201);
  expect((await push()).status).toBe(429);
  const large = await post('/oauth2/par')(own, newAddress(), { nonce: 'x'.repeat(MAX_BYTES) });
  expect([large.status, large.text]).toEqual([400, expect.stringContaining(`${MAX_BYTES} bytes`)]);
});

test('a client that authenticates has no such limits', async () => {
  const address = newAddress();
  for (let n = 0; n < 2 * PER_ADDRESS; n++) expect((await post('/oauth2/par')(backend, address)).status).toBe(201);
  const large = await post('/oauth2/par')(backend, address, { nonce: 'x'.repeat(20_000) });
  expect(large.status).toBe(201);
  // Its user begins with a short address.
  const { request_uri } = JSON.parse(large.text);
  const login = await authorize(backend, newAddress(), { request_uri });
  expect([login.status, login.headers.get('location')]).toEqual([303, expect.stringContaining('/interaction/')]);
});

test('proofs of possession at pushed requests are counted with them: each would leave a row of its own', async () => {
  const key = await newSigner();
  const client = await newClient();
  const address = newAddress();
  const before = await countRows();
  for (let n = 0; n < 2 * PER_ADDRESS; n++) {
    const dpop = await dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/par` });
    await postForm(`${server.issuer}/oauth2/par`, client, requestOf(client), { 'x-forwarded-for': address, dpop });
  }
  expect((await countRows()) - before).toBe(2 * PER_ADDRESS);
});

describe('pages without a cookie', () => {
  test.each(['/oauth2/device', '/oauth2/logout', '/oauth2/logout?state=a'])('%s stores nothing', async (path) => {
    const address = newAddress();
    const before = await countRows();
    for (let n = 0; n < 2 * PER_ADDRESS; n++) expect((await open(path, address)).status).toBeLessThan(400);
    expect((await countRows()) - before).toBe(0);
  });

  test('a logout of nobody leads on at once, to registered addresses only', async () => {
    const query = new URLSearchParams({
      ...{ client_id: spa.clientId, post_logout_redirect_uri: 'https://app.example/bye', state: 'a b' },
    });
    const answer = await open(`/oauth2/logout?${query}`, newAddress());
    expect([answer.status, answer.headers.get('location')]).toEqual([303, 'https://app.example/bye?state=a+b']);
    query.set('post_logout_redirect_uri', 'https://evil.example/');
    expect((await open(`/oauth2/logout?${query}`, newAddress())).status).toBe(400);
    const signedOut = await createUserAgent(server.issuer).visit(`${server.issuer}/oauth2/logout`);
    expect([signedOut.status, signedOut.url]).toEqual([200, `${server.issuer}/oauth2/logout/success`]);
  });

  test('a typed code makes a session that expires after an hour, not after two weeks, and is counted', async () => {
    const address = newAddress();
    const before = await countRows();
    const answers: Response[] = [];
    for (let n = 0; n < 2 * PER_ADDRESS; n++) answers.push(await open('/oauth2/device?user_code=BCDF-GHJK', address));
    expect(answers.map(({ status }) => status)).toEqual([
      ...Array<number>(PER_ADDRESS).fill(200),
      ...Array<number>(PER_ADDRESS).fill(429),
    ]);
    expect(Number(answers.at(-1)?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await countRows()) - before).toBe(PER_ADDRESS);
    const { rows } = await server.sql.query(
      "SELECT max(extract(epoch FROM expires_at - now()))::int AS seconds FROM oidc_artifacts WHERE model = 'Session'",
    );
    expect(rows[0].seconds).toBeLessThanOrEqual(3600);
  });

  test('a cookie whose session is gone stores nothing either', async () => {
    const first = await open('/oauth2/device?user_code=BCDF-GHJK', newAddress());
    const cookie = first.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; ');
    await server.sql.query("DELETE FROM oidc_artifacts WHERE model = 'Session'");
    const address = newAddress();
    const before = await countRows();
    for (let n = 0; n < PER_ADDRESS; n++) {
      await open('/oauth2/logout', address, { cookie });
      const prompt = authorizationUrl(server.issuer, requestOf(spa, { prompt: 'none' }));
      await open(prompt.replace(server.issuer, ''), address, { cookie });
    }
    expect((await countRows()) - before).toBe(0);
  });
});

test('a login that is cancelled again and again leaves one audit event', async () => {
  const agent = createUserAgent(server.issuer, [], (url, init) => {
    return fetch(url, { ...init, headers: { ...init.headers, 'x-forwarded-for': '198.51.100.99' } });
  });
  const page = await agent.visit(authorizationUrl(server.issuer, requestOf(spa)));
  const cancel = /action="([^"]*\/cancel)"/.exec(page.html)?.[1] ?? '';
  const cookie = agent.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const before = await countRows();
  for (let n = 0; n < 5; n++) {
    const headers = { cookie, 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' };
    await fetch(server.issuer + cancel, { method: 'POST', headers, body: '', redirect: 'manual' });
  }
  expect((await countRows()) - before).toBe(1);
});

test('fifty people behind one address sign in within a minute, as the limits are by default', async () => {
  const ordinary = await startTestServer({
    LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: LIMITS.LANYARD_ANONYMOUS_WRITES_PER_ADDRESS.default,
    LANYARD_ANONYMOUS_WRITES_PER_CLIENT: LIMITS.LANYARD_ANONYMOUS_WRITES_PER_CLIENT.default,
  });
  try {
    const app = await ordinary.admin.createClient(CODE_FLOW);
    const people = Array.from({ length: 50 }, (_, n) => ({
      username: `person-${n}`,
      password: 'a good long password',
    }));
    await Promise.all(people.map(({ username, password }) => ordinary.admin.createUser(username, password)));
    const codes = await Promise.all(people.map((user) => obtainCode(ordinary, app, {}, { user })));
    expect(new Set(codes.map(({ code }) => code)).size).toBe(50);
  } finally {
    await ordinary.stop();
  }
});
