// What `npm run chaos` would find: each promise is broken in the database, and the check of the ledger
// tells which one. A check that finds nothing would make every run of it a success.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createChecks } from '../../chaos/checks.ts';
import type { Installation } from '../../chaos/installation.ts';
import { createLedger, type Ledger } from '../../chaos/ledger.ts';
import { createNode, type Node } from '../../chaos/node.ts';
import { createRandom } from '../../chaos/random.ts';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { revoke, type TestClient } from '../support/admin.ts';
import type { CuttableProxy } from '../support/proxy.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' } as const;

let server: TestServer;
let app: TestClient;
let ledger: Ledger;
let node: Node;
let installation: Installation;
let isStopped = false;

beforeAll(async () => {
  server = await startTestServer();
  app = await server.admin.createClient();
  for (const [access_token_format, api] of Object.entries(APIS)) {
    await server.admin.createApi(api, { scopes: ['read'], access_token_format });
    await server.admin.allow(app.clientId, api, ['read']);
  }
});
afterAll(async () => {
  if (!isStopped) await server.stop();
});

beforeEach(() => {
  ledger = createLedger();
  const { issuer, connectionString } = server;
  const port = Number(new URL(issuer).port);
  const proxy = {} as CuttableProxy;
  node = createNode({ name: 'the node', issuer, port, proxy, options: { home: '' }, ledger });
  installation = {
    issuer,
    adminSecret: '',
    nodes: [node],
    moveDatabase() {},
    connectionString: () => connectionString,
    async withDatabase(work) {
      const sql = new pg.Client({ connectionString });
      await sql.connect();
      return work(sql).finally(() => sql.end());
    },
    async stop() {},
  };
});

async function acknowledge(format: 'jwt' | 'opaque') {
  const form = { grant_type: 'client_credentials', resource: APIS[format] };
  const answer = await node.ask({ path: '/oauth2/token', client: app, form });
  ledger.acknowledge(answer.requestId, 'token.issued');
  return { requestId: answer.requestId, entry: ledger.addToken(app, String(answer.body.access_token), app) };
}

async function found(): Promise<string[]> {
  await createChecks(installation, ledger, createRandom(1)).all();
  return ledger.violations.map(({ breach }) => breach);
}

describe.each(['jwt', 'opaque'] as const)('of a token (%s)', (format) => {
  test('nothing is found where all is well', async () => {
    await acknowledge(format);
    const { entry } = await acknowledge(format);
    expect((await revoke(server.issuer, app, entry.token)).status).toBe(200);
    entry.state = 'gone';
    expect(await found()).toEqual([]);
  });

  test('that was revoked and is active', async () => {
    const { entry } = await acknowledge(format);
    entry.state = 'gone';
    expect(await found()).toEqual(['granted']);
  });

  test('that is lost', async () => {
    const { entry } = await acknowledge(format);
    if (format === 'opaque') {
      await server.sql.query('DELETE FROM oidc_artifacts WHERE id = $1', [
        artifactId('ClientCredentials', entry.token),
      ]);
    } else {
      await revoke(server.issuer, app, entry.token);
    }
    expect(await found()).toEqual(['lost']);
  });
});

test('an audit event that is lost', async () => {
  ledger.acknowledge('a request that nobody has seen', 'token.issued');
  expect(await found()).toEqual(['lost']);
});

test('an audit event that is there twice', async () => {
  const { requestId } = await acknowledge('jwt');
  await server.sql.query(
    'INSERT INTO audit_events (type, actor, client_id, request_id) SELECT type, actor, client_id, request_id FROM audit_events WHERE request_id = $1',
    [requestId],
  );
  expect(await found()).toEqual(['doubled']);
});

test('what was spent twice, unless the audit log calls it a reuse within the grace', async () => {
  const [one, other] = [await acknowledge('jwt'), await acknowledge('jwt')];
  const twins = { requestIds: [one.requestId, other.requestId], what: 'a refresh token' };
  ledger.twins.push(twins);
  expect(await found()).toEqual(['doubled']);
  ledger = createLedger();
  ledger.twins.push(twins);
  await server.sql.query(
    "INSERT INTO audit_events (type, actor, request_id) VALUES ('refresh_token.reused_in_grace', 'system', $1)",
    [other.requestId],
  );
  expect(await found()).toEqual([]);
});

test('no answer, unless a fault explains it', async () => {
  isStopped = true;
  await server.stop();
  const settle = node.excuse();
  expect((await node.ask({ path: '/health/live' })).status).toBe(0);
  settle();
  expect(ledger.violations).toEqual([]);
  await node.ask({ path: '/health/live' });
  expect(ledger.violations.map(({ breach }) => breach)).toEqual(['failed']);
});
