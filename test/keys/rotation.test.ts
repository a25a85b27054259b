// Keys that change while the servers run, through the admin API: clients and APIs that follow the standards do not notice a rotation,
// and a stolen key is worthless from the moment in which an operator takes it out of use.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  generateKeyPair,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { type Answer, introspect, requestToken, type TestClient } from '../support/admin.ts';
import { resetClock, stopClock } from '../support/clock.ts';
import { ALICE, CODE_FLOW, clientToken, INACTIVE, obtainTokens } from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { eventually, until } from '../support/patience.ts';
import { ADMIN_SECRET, SECRET_KEY, startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent } from '../support/user-agent.ts';

const API = 'https://api.example';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const CC = { grant_type: 'client_credentials' };

let server: TestServer;
let other: OtherNode;
let app: TestClient;
let api: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  other = await startOtherNode(server);
  app = await server.admin.createClient();
  api = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'], introspection_client_id: api.clientId });
  await server.admin.allow(app.clientId, API, ['read']);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(async () => {
  await other.stop();
  await server.stop();
});
afterEach(resetClock);

interface WireKey {
  readonly kid: string;
  readonly alg: string;
  readonly state: string;
  readonly activate_at: string;
  readonly remove_at: string | null;
}

async function listKeys(alg?: string): Promise<WireKey[]> {
  const { status, body } = await server.admin.request('GET', '/keys');
  expect(status).toBe(200);
  return (body.items as WireKey[]).filter((key) => alg === undefined || key.alg === alg);
}

async function activeKey(alg: string): Promise<WireKey> {
  return (await listKeys(alg)).find(({ state }) => state === 'active') as WireKey;
}

function rotate(alg: string, aheadSeconds?: number): Promise<Answer> {
  const ahead = aheadSeconds === undefined ? {} : { publish_ahead_seconds: aheadSeconds };
  return server.admin.request('POST', '/keys/rotate', { alg, ...ahead });
}

/** The token that asks for it was signed with that key too. */
async function retire(kid: string): Promise<Answer> {
  const answer = await server.admin.request('DELETE', `/keys/${kid}`);
  server.admin.forgetToken();
  return answer;
}

type Node = 'here' | 'there';

async function readKeySet(node: Node): Promise<JSONWebKeySet> {
  const path = '/oauth2/jwks';
  const set = node === 'there' ? (await other.get(path)).body : await (await fetch(server.issuer + path)).json();
  return set as unknown as JSONWebKeySet;
}

async function publishedKids(node: Node = 'here'): Promise<(string | undefined)[]> {
  return (await readKeySet(node)).keys.map(({ kid }) => kid);
}

/** As an API does it: keeps the key set for a while, and does not ask again because of a token. */
function verifierWithCache(node: Node, cacheMs: number): JWTVerifyGetKey {
  return createRemoteJWKSet(new URL('https://idp.example/jwks'), {
    cacheMaxAge: cacheMs,
    cooldownDuration: 3_600_000,
    [customFetch]: async () => Response.json(await readKeySet(node)),
  });
}

test('the keys of access tokens come first at both nodes: python-jose gives up at the first key of another type', async () => {
  const algorithms = async (node: Node) => (await readKeySet(node)).keys.map(({ alg }) => alg);
  expect(await algorithms('here')).toEqual(['ES256', 'RS256']);
  // The newest of all would be first.
  expect((await rotate('ES256', 0)).status).toBe(201);
  expect((await rotate('RS256', 0)).status).toBe(201);
  for (const node of ['here', 'there'] as const) {
    await eventually(async () => expect(await algorithms(node)).toEqual(['ES256', 'ES256', 'RS256', 'RS256']));
  }
});

describe('under load on two nodes', () => {
  const ROTATIONS = 4;
  const AHEAD_SECONDS = 3;

  test('four rotations fail no request and make no token that a verifier with a cached key set refuses', async () => {
    const kids = new Set<string>();
    const failures: string[] = [];
    let isOver = false;

    async function work(request: () => Promise<string>, verifierOf: Node, check: (token: string) => Promise<boolean>) {
      const keySet = verifierWithCache(verifierOf, (AHEAD_SECONDS * 1000) / 3);
      while (!isOver) {
        try {
          const token = await request();
          const { protectedHeader } = await jwtVerify(token, keySet, { issuer: server.issuer });
          kids.add(protectedHeader.kid as string);
          if (!(await check(token))) throw new Error('introspection says no');
        } catch (error) {
          failures.push(String(error));
        }
      }
    }

    const here = () => clientToken(server, app, CC);
    const there = async () => {
      const { status, body } = await other.post('/oauth2/token', app, CC);
      if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
      return body.access_token as string;
    };
    const activeHere = async (token: string) => (await introspect(server.issuer, api, token)).body.active === true;
    const activeThere = async (token: string) => {
      return (await other.post('/oauth2/introspect', api, { token })).body.active === true;
    };
    const workers = [
      ...Array.from({ length: 3 }, () => work(here, 'there', activeThere)),
      ...Array.from({ length: 3 }, () => work(there, 'here', activeHere)),
    ];
    for (let rotation = 0; rotation < ROTATIONS; rotation++) {
      const { status, body } = await rotate('ES256', AHEAD_SECONDS);
      expect(status).toBe(201);
      await until(() => kids.has(body.kid as string), 'a token of the new key');
    }
    isOver = true;
    await Promise.all(workers);

    expect(failures).toEqual([]);
    expect(kids.size).toBe(ROTATIONS + 1);
  });

  test('the same without publishing ahead is what that load would notice', async () => {
    const keySet = verifierWithCache('here', 60_000);
    await jwtVerify(await clientToken(server, app, CC), keySet);
    expect((await rotate('ES256', 0)).status).toBe(201);
    await expect(jwtVerify(await clientToken(server, app, CC), keySet)).rejects.toThrow('no applicable key');
  });

  test('a login that began with one key ends with another', async () => {
    const login = await server.admin.createClient({ ...CODE_FLOW, id_token_signed_response_alg: 'ES256' });
    const before = await obtainTokens(server, login);
    await rotate('ES256', 0);
    const after = await obtainTokens(server, login);
    expect(decodeProtectedHeader(after.idToken).kid).not.toBe(decodeProtectedHeader(before.idToken).kid);
    const keySet = verifierWithCache('here', 0);
    for (const { idToken } of [before, after]) await jwtVerify(idToken, keySet, { audience: login.clientId });
  });
});

describe('a key that is taken out of use at once', () => {
  test('a token that a thief signs with it is inactive, on both nodes', async () => {
    const token = await clientToken(server, app, CC);
    expect((await introspect(server.issuer, api, token)).body.active).toBe(true);
    expect((await other.post('/oauth2/introspect', api, { token })).body.active).toBe(true);
    const { kid } = decodeProtectedHeader(token) as { kid: string };

    expect((await retire(kid)).status).toBe(204);
    expect((await introspect(server.issuer, api, token)).body).toEqual(INACTIVE);
    const askThere = async () => (await other.post('/oauth2/introspect', api, { token })).body;
    await until(async () => (await askThere()).active === false, 'the end of the token on the other node');
    for (let time = 0; time < 20; time++) expect(await askThere()).toEqual(INACTIVE);
    for (const node of ['here', 'there'] as const) expect(await publishedKids(node)).not.toContain(kid);
  });

  test('its successor signs at once, on both nodes, also when one was waiting', async () => {
    const waiting = (await rotate('ES256', 3600)).body as unknown as WireKey;
    expect(waiting.state).toBe('next');
    await retire((await activeKey('ES256')).kid);
    expect((await activeKey('ES256')).kid).toBe(waiting.kid);
    expect(decodeProtectedHeader(await clientToken(server, app, CC)).kid).toBe(waiting.kid);
    await eventually(async () => {
      const there = (await other.post('/oauth2/token', app, CC)).body.access_token as string;
      expect(decodeProtectedHeader(there).kid).toBe(waiting.kid);
    });
  });

  test('what it has signed is refused at token exchange and as a hint at logout; a logout that has begun goes on', async () => {
    const login = await server.admin.createClient({ ...CODE_FLOW, id_token_signed_response_alg: 'ES256' });
    const service = await server.admin.createClient({ grant_types: ['client_credentials', EXCHANGE] });
    const delegation = { max_depth: 1, allowed_clients: null };
    const first = { scopes: ['read'], delegation, introspection_client_id: service.clientId };
    await server.admin.createApi('https://first.example', first);
    await server.admin.createApi('https://second.example', { scopes: ['read'], delegation });
    await server.admin.allow(login.clientId, 'https://first.example', ['read']);
    const row = `/resource-servers/${encodeURIComponent('https://second.example')}/clients/${service.clientId}`;
    await server.admin.request('PUT', row, { scopes: ['read'], token_exchange: true });

    const agent = createUserAgent(server.issuer);
    const request = { scope: 'openid read', resource: 'https://first.example' };
    const { idToken, accessToken } = await obtainTokens(server, login, request, { agent });
    const exchange = async () => {
      const type = 'urn:ietf:params:oauth:token-type:access_token';
      const form = { grant_type: EXCHANGE, subject_token: accessToken, subject_token_type: type };
      return requestToken(server.issuer, service, { ...form, resource: 'https://second.example' });
    };
    const hintAtLogout = async () =>
      (await agent.visit(`${server.issuer}/oauth2/logout?${new URLSearchParams({ id_token_hint: idToken })}`)).status;

    expect((await rotate('ES256', 0)).status).toBe(201);
    const { kid } = decodeProtectedHeader(accessToken) as { kid: string };
    expect((await listKeys('ES256')).find((key) => key.kid === kid)?.state).toBe('retired');
    expect((await exchange()).status).toBe(200);
    expect(await hintAtLogout()).toBe(200);

    expect((await retire(kid)).status).toBe(204);
    expect((await exchange()).body.error).toMatch(/^invalid_(request|grant)$/);
    expect(await hintAtLogout()).toBe(400);
  });

  test('the token with which the operator did it counts no more either', async () => {
    const { kid } = await activeKey('ES256');
    const adminToken = await clientToken(server, { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET }, CC);
    expect(decodeProtectedHeader(adminToken).kid).toBe(kid);
    const ask = () => fetch(`${server.issuer}/admin/v1/keys`, { headers: { authorization: `Bearer ${adminToken}` } });
    expect((await ask()).status).toBe(200);
    expect((await retire(kid)).status).toBe(204);
    expect((await ask()).status).toBe(401);
  });
});

describe('through the admin API', () => {
  test('a key is published, becomes active by the clock, and its predecessor says until when it stays', async () => {
    const before = await activeKey('RS256');
    expect(before.remove_at).toBeNull();
    stopClock(Date.now() / 1000);
    const next = (await rotate('RS256', 5)).body as unknown as WireKey;
    expect(next).toMatchObject({ alg: 'RS256', state: 'next', remove_at: null });
    await eventually(async () => {
      expect(await publishedKids('there')).toEqual(expect.arrayContaining([before.kid, next.kid]));
    });
    expect((await activeKey('RS256')).kid).toBe(before.kid);
    resetClock();
    await until(async () => (await activeKey('RS256')).kid === next.kid, 'the activation of the key');
    const retired = (await listKeys('RS256')).find(({ kid }) => kid === before.kid);
    expect(retired?.state).toBe('retired');
    // The longest that anything refers to it: a session, 14 days, in which its ID token may be a hint at the logout.
    const keptMs = Date.parse(retired?.remove_at as string) - Date.parse(next.activate_at);
    expect(keptMs).toBe(14 * 86_400_000);
    const { rows } = await server.sql.query(
      "SELECT actor, detail FROM audit_events WHERE type = 'signing_key.created' AND detail->>'kid' = $1",
      [next.kid],
    );
    expect(rows).toEqual([{ actor: 'client:lanyard-admin', detail: expect.objectContaining({ alg: 'RS256' }) }]);
  });

  test('a key that waits is taken back: its predecessor stays', async () => {
    const next = (await rotate('RS256', 3600)).body as unknown as WireKey;
    expect((await rotate('RS256')).body).toMatchObject({ status: 409, code: 'conflict' });
    expect((await activeKey('RS256')).remove_at).not.toBeNull();
    expect((await retire(next.kid)).status).toBe(204);
    expect((await activeKey('RS256')).remove_at).toBeNull();
    expect(await publishedKids()).not.toContain(next.kid);
  });

  test.each([
    ['POST', '/keys', { alg: 'HS256' }, 400],
    ['POST', '/keys', { alg: 'none' }, 400],
    ['POST', '/keys', {}, 400],
    ['POST', '/keys', { alg: 'ES256' }, 409],
    ['POST', '/keys', { alg: 'Ed25519', published: 'yes' }, 400],
    ['POST', '/keys', { alg: 'Ed25519', private_jwk: {} }, 400],
    ['POST', '/keys/rotate', { alg: 'Ed25519' }, 404],
    ['POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: -1 }, 400],
    ['POST', '/keys/rotate', { alg: 'ES256', publish_ahead_seconds: 1.5 }, 400],
    ['POST', '/keys/unknown/publish', undefined, 404],
    ['DELETE', '/keys/unknown', undefined, 404],
    ['DELETE', `/keys/${'x'.repeat(101)}`, undefined, 400],
  ])('%s %s %j is refused with %i, and no key changes', async (method, path, body, status) => {
    const before = await listKeys();
    const answer = await server.admin.request(method, path, body);
    expect(answer.status).toBe(status);
    expect(await listKeys()).toEqual(before);
  });

  test('of ten rotations at once one makes a key', async () => {
    const before = await listKeys('ES256');
    const answers = await Promise.all(Array.from({ length: 10 }, () => rotate('ES256', 3600)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(9).fill(409)]);
    const after = await listKeys('ES256');
    expect(after).toHaveLength(before.length + 1);
    await retire(after.find(({ state }) => state === 'next')?.kid as string);
  });

  test('a key of another algorithm signs for the clients that ask for it', async () => {
    const metadata = { ...CODE_FLOW, id_token_signed_response_alg: 'Ed25519' };
    const refused = await server.admin.request('POST', '/clients', metadata);
    expect(refused.body).toMatchObject({ status: 400, errors: [{ pointer: '/id_token_signed_response_alg' }] });
    const { status, body } = await server.admin.request('POST', '/keys', { alg: 'Ed25519' });
    expect([status, body.state]).toEqual([201, 'active']);
    const { idToken } = await obtainTokens(server, await server.admin.createClient(metadata));
    expect(decodeProtectedHeader(idToken)).toMatchObject({ alg: 'Ed25519', kid: body.kid });
    await jwtVerify(idToken, verifierWithCache('there', 0));
    const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect(discovery).toMatchObject({
      id_token_signing_alg_values_supported: expect.arrayContaining(['ES256', 'RS256', 'Ed25519']),
    });
  });

  test('a post-quantum key is published when an operator asks for it, and not before', async () => {
    const { status, body } = await server.admin.request('POST', '/keys', { alg: 'ML-DSA-44' });
    if (!(await canMakePostQuantumKeys())) {
      expect(body).toMatchObject({ status: 400, errors: [{ pointer: '/alg' }] });
      return;
    }
    expect([status, body.state]).toEqual([201, 'unpublished']);
    const metadata = { ...CODE_FLOW, id_token_signed_response_alg: 'ML-DSA-44' };
    expect(await publishedKids()).not.toContain(body.kid);
    expect((await server.admin.request('POST', '/clients', metadata)).status).toBe(400);

    const published = await server.admin.request('POST', `/keys/${body.kid}/publish`);
    expect([published.status, published.body.state]).toEqual([200, 'active']);
    expect(await publishedKids()).toContain(body.kid);
    const { idToken } = await obtainTokens(server, await server.admin.createClient(metadata));
    await jwtVerify(idToken, verifierWithCache('here', 0));
    expect(decodeProtectedHeader(idToken).alg).toBe('ML-DSA-44');
  });
});

async function canMakePostQuantumKeys(): Promise<boolean> {
  return generateKeyPair('ML-DSA-44').then(
    () => true,
    () => false,
  );
}

describe('a set of keys that cannot be read: the keys of before stay in use', () => {
  test('a row that cannot be decrypted is logged, and other keys stay in use', async () => {
    const { kid } = await activeKey('RS256');
    await server.sql.query(
      `INSERT INTO signing_keys (kid, alg, public_jwk, sealed_private_jwk, activate_at)
       SELECT 'foreign', alg, public_jwk, sealed_private_jwk, now() FROM signing_keys WHERE kid = $1`,
      [kid],
    );
    await until(() => server.logLines.join('').includes('the signing keys could not be read'), 'the report');
    const token = await clientToken(server, app, CC);
    await jwtVerify(token, verifierWithCache('here', 0));
    // It does not keep a key in use that is taken away meanwhile, either.
    expect((await retire((await activeKey('ES256')).kid)).status).toBe(204);
    expect((await introspect(server.issuer, api, token)).body).toEqual(INACTIVE);
    await jwtVerify(await clientToken(server, app, CC), verifierWithCache('here', 0));
    await server.sql.query("DELETE FROM signing_keys WHERE kid = 'foreign'");
  });
});

describe('a new LANYARD_SECRET_KEY', () => {
  const NEW_KEY = 'a new secret key for the tests, long enough to be one';

  test('a server that has it and the one before takes over; one that still runs with that goes on', async () => {
    const token = await clientToken(server, app, CC);
    const env = { LANYARD_SECRET_KEY: NEW_KEY, LANYARD_SECRET_KEY_PREVIOUS: SECRET_KEY };
    const renewed = await startOtherNode(server, env);
    try {
      expect((await renewed.post('/oauth2/introspect', api, { token })).body.active).toBe(true);
      const later = await clientToken(server, app, CC);
      expect((await renewed.post('/oauth2/introspect', api, { token: later })).body.active).toBe(true);
      expect((await introspectTokenOf(renewed)).active).toBe(true);
    } finally {
      await renewed.stop();
    }
    await expect(startOtherNode(server)).rejects.toThrow('LANYARD_SECRET_KEY does not decrypt the signing keys');
  });

  test('the keys that have leaked with the one before count for nothing any more, also where that is still in use', async () => {
    const leaked = await clientToken(server, app, CC);
    expect((await introspect(server.issuer, api, leaked)).body.active).toBe(true);
    const keys = (await listKeys()).filter(({ state }) => state !== 'unpublished');
    const env = { LANYARD_SECRET_KEY: NEW_KEY, LANYARD_SECRET_KEY_PREVIOUS: SECRET_KEY };
    const renewed = await startOtherNode(server, env);
    try {
      for (const { kid } of keys) await removeThere(renewed, kid);
      expect((await renewed.post('/oauth2/introspect', api, { token: leaked })).body).toEqual(INACTIVE);
      const { body } = await renewed.post('/oauth2/token', app, CC);
      expect((await renewed.post('/oauth2/introspect', api, { token: body.access_token as string })).body.active).toBe(
        true,
      );
      // The old server cannot open the keys that have taken their place. Rather than going on with those that were taken away it
      // refuses every request, and says that it is not ready.
      await eventually(async () => expect((await fetch(`${server.issuer}/health/ready`)).status).toBe(503));
      expect((await introspect(server.issuer, api, leaked)).status).toBe(400);
      for (const { kid } of keys) expect(await publishedKids()).not.toContain(kid);
    } finally {
      await renewed.stop();
    }
  });

  /** With a token of that moment: the one before was signed with a key that is gone. */
  async function removeThere(renewed: OtherNode, kid: string) {
    const admin = { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET };
    const { body } = await renewed.post('/oauth2/token', admin, CC);
    const answer = await renewed.remove(`/admin/v1/keys/${kid}`, body.access_token as string);
    expect(answer.status).toBe(204);
  }

  /** A token of the new node is good at the old one. */
  async function introspectTokenOf(renewed: OtherNode) {
    const { body } = await renewed.post('/oauth2/token', app, CC);
    return (await introspect(server.issuer, api, body.access_token as string)).body;
  }
});
