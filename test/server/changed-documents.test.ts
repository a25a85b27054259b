// Documents in memory change when what they are about has changed: at once where the change was made,
// and a moment later at every other node, which gives them the same tags.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createAdminClient } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { countBlocked, killBlocked, killNamed, lockTable } from '../support/hold.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { eventually, until } from '../support/patience.ts';
import { type LanyardProcess, makeHome, removeHome, start } from '../support/process.ts';
import { type CuttableProxy, startProxy } from '../support/proxy.ts';
import { ADMIN_SECRET, SECRET_KEY, startTestServer, type TestServer } from '../support/server.ts';

const BANK = 'https://bank.example';
const DISCOVERY = '/.well-known/openid-configuration';
const JWKS = '/oauth2/jwks';
const typed = (...names: string[]) => ({
  authorization_details_types: Object.fromEntries(
    names.map((name) => [name, { description: name, schema: { type: 'object' } }]),
  ),
});

async function read(url: string): Promise<{ tag: string | null; body: Record<string, unknown> }> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  return { tag: response.headers.get('etag'), body: (await response.json()) as Record<string, unknown> };
}

const typesOf = async (issuer: string) => (await read(issuer + DISCOVERY)).body.authorization_details_types_supported;

let server: TestServer;
let other: OtherNode;

beforeAll(async () => {
  server = await startTestServer();
  other = await startOtherNode(server);
  await server.admin.createApi(BANK);
});
afterAll(async () => {
  await other.stop();
  await server.stop();
});

test('a type is named when the admin API has answered, and not any more when it is taken away', async () => {
  const path = `/resource-servers/${encodeURIComponent(BANK)}`;
  for (const names of [['payment'], ['cheque', 'payment'], []]) {
    expect((await server.admin.request('PATCH', path, typed(...names))).status).toBe(200);
    expect(await typesOf(server.issuer)).toEqual(names);
    await eventually(async () => {
      expect((await other.get(DISCOVERY)).body.authorization_details_types_supported).toEqual(names);
    });
  }
  await server.admin.createApi('https://other.example', typed('order'));
  expect(await typesOf(server.issuer)).toEqual(['order']);
  await server.admin.request('DELETE', `/resource-servers/${encodeURIComponent('https://other.example')}`);
  expect(await typesOf(server.issuer)).toEqual([]);
});

test('a key and its algorithm are published when the admin API has answered', async () => {
  const before = await read(server.issuer + JWKS);
  const { body: key } = await server.admin.request('POST', '/keys', { alg: 'PS256' });
  const after = await read(server.issuer + JWKS);
  expect(after.tag).not.toBe(before.tag);
  expect(after.body.keys).toContainEqual(expect.objectContaining({ kid: key.kid }));
  const { body } = await read(server.issuer + DISCOVERY);
  expect(body.id_token_signing_alg_values_supported).toContain('PS256');

  await server.admin.request('DELETE', `/keys/${key.kid}`);
  const { keys } = (await read(server.issuer + JWKS)).body;
  expect(keys).not.toContainEqual(expect.objectContaining({ kid: key.kid }));
});

test('a document has the same tag at every node, so that a client may ask any of them', async () => {
  for (const path of [JWKS, DISCOVERY]) {
    const { tag } = await read(server.issuer + path);
    await eventually(async () => {
      expect((await other.get(path, { 'if-none-match': tag as string })).status).toBe(304);
    });
  }
});

test('a change of which no notification comes is found by the next look at the change log', async () => {
  await killNamed(server.sql, 'lanyard-changes');
  await declare('without notice', 'DISABLE TRIGGER resource_servers_announce');
  await eventually(async () => expect(await typesOf(server.issuer)).toEqual(['without notice']));
});

test('while the types cannot be read the last ones are named; a failed read is repeated', async () => {
  await declare('read again', 'DISABLE TRIGGER USER');
  const lock = await lockTable(server.connectionString, 'resource_servers');
  try {
    await server.sql.query(`SELECT lanyard_log_key('resource_server', '*')`);
    // One of each node.
    await until(async () => (await countBlocked(server.sql)) === 2, 'blocked reads');
    expect(await typesOf(server.issuer)).toEqual(['without notice']);
    expect(await killBlocked(server.sql)).toBe(2);
  } finally {
    await lock.release();
  }
  await eventually(async () => expect(await typesOf(server.issuer)).toEqual(['read again']));
});

/** @param without the triggers that do not take part */
async function declare(name: string, without: string): Promise<void> {
  const types = JSON.stringify(typed(name).authorization_details_types);
  await server.sql.query(`BEGIN; ALTER TABLE resource_servers ${without};
    UPDATE resource_servers SET authorization_details_types = '${types}' WHERE identifier = '${BANK}'; COMMIT;
    ALTER TABLE resource_servers ENABLE TRIGGER USER`);
}

test('while PostgreSQL gives no answer every document is answered, also at the first request after the start', async () => {
  const testDatabase: TestDatabase = await createTestDatabase();
  const proxy: CuttableProxy = await startProxy(testDatabase.connectionString);
  const home = await makeHome();
  const env = {
    DATABASE_URL: proxy.connectionString,
    LANYARD_SECRET_KEY: SECRET_KEY,
    LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
  };
  const running: LanyardProcess[] = [];
  try {
    const first = await start({ home, env });
    running.push(first);
    const { createApi } = createAdminClient(first.issuer, ADMIN_SECRET);
    await createApi(BANK, typed('payment'));
    const keys = await read(first.issuer + JWKS);
    const second = await start({ home, env });
    running.push(second);

    proxy.cut();
    // The second process has answered nothing before.
    for (const { issuer } of [second, first]) {
      expect(await typesOf(issuer)).toEqual(['payment']);
      expect((await read(`${issuer}/.well-known/oauth-authorization-server`)).body.issuer).toBe(issuer);
      expect(await read(issuer + JWKS)).toEqual(keys);
      expect((await read(`${issuer}/.well-known/oauth-protected-resource/admin`)).body.resource).toBe(
        `${issuer}/admin`,
      );
      expect((await fetch(`${issuer}/health/live`)).status).toBe(200);
      // The engine's own pipeline asks nobody either, and tells browser apps that they may ask.
      const preflight = { origin: 'https://app.example', 'access-control-request-method': 'GET' };
      expect((await fetch(issuer + DISCOVERY, { method: 'OPTIONS', headers: preflight })).status).toBe(204);
      expect((await read(`${issuer}${DISCOVERY}?x`)).body.authorization_details_types_supported).toEqual(['payment']);
    }
  } finally {
    for (const each of running) each.kill('SIGKILL');
    await Promise.all(running.map(({ exited }) => exited));
    await proxy.stop();
    await testDatabase.drop();
    await removeHome(home);
  }
});
