// The connections to PostgreSQL are cut without a word, under load, as by a firewall that has lost
// its state: the server finds that out, and can be stopped while nothing answers.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createAdminClient, requestToken, toAnswer } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';
import { type LanyardProcess, launch, makeHome, removeHome, stopAll } from '../support/process.ts';
import { type CuttableProxy, startProxy } from '../support/proxy.ts';
import { ADMIN_SECRET, SECRET_KEY } from '../support/server.ts';

/** of the promise in docs/reliability.md */
const RECOVERY_MS = 10_000;
/** of src/main.ts */
const GRACE_MS = 25_000;
const ADMIN = { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET };

let database: TestDatabase;
let proxy: CuttableProxy;
let home: string;
let sql: pg.Pool;

beforeEach(async () => {
  database = await createTestDatabase();
  proxy = await startProxy(database.connectionString);
  home = await makeHome();
  sql = new pg.Pool({ connectionString: database.connectionString, max: 1 });
});
afterEach(async () => {
  proxy.mend();
  await stopAll();
  await proxy.stop();
  await sql.end();
  await removeHome(home);
  await database.drop();
});

function environment(workers: number): Record<string, string> {
  return {
    DATABASE_URL: proxy.connectionString,
    LANYARD_SECRET_KEY: SECRET_KEY,
    LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
    LANYARD_WORKERS: String(workers),
    LANYARD_DATABASE_POOL_SIZE: '10',
  };
}

async function start(workers: number): Promise<LanyardProcess> {
  const lanyard = await launch({ home, env: environment(workers) });
  await lanyard.says('Lanyard is running.');
  await until(async () => (await readiness(lanyard)) === 200, 'readiness');
  return lanyard;
}

const readiness = async ({ issuer }: LanyardProcess) => (await fetch(`${issuer}/health/ready`)).status;

/** Requests tokens all the time. @returns what stops it */
function load({ issuer }: LanyardProcess, counts: { issued: number; failed: number }): () => Promise<void> {
  let isOver = false;
  const clients = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      const status = await requestToken(issuer, ADMIN).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) counts.issued++;
      else counts.failed++;
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(clients);
  };
}

test('SIGTERM ends a start that hangs', async () => {
  proxy.cut();
  const lanyard = await launch({ home, env: { DATABASE_URL: proxy.connectionString, LANYARD_SECRET_KEY: SECRET_KEY } });
  await until(() => proxy.accepted() > 0, 'the attempt to connect');
  lanyard.kill('SIGTERM');
  expect((await lanyard.exited).signal).toBeNull();
});

test('it is not ready before the first start is complete', async () => {
  // The admin client comes last. Nothing before it asks for consents.
  const lock = await lockTable(database.connectionString, 'client_secrets');
  const lanyard = await launch({ home, env: environment(1) });
  await until(
    () =>
      readiness(lanyard).then(
        (status) => status === 503,
        () => false,
      ),
    'a server that listens',
  );
  expect((await toAnswer(await fetch(`${lanyard.issuer}/health/ready`))).body).toMatchObject({ reason: 'starting' });
  await lock.release();
  await lanyard.says('Lanyard is running.');
  await until(async () => (await readiness(lanyard)) === 200, 'readiness');
});

describe.each([1, 2])('with %i processes', (workers) => {
  test('tokens are issued again within ten seconds of a cut, and the server calls itself ready no longer than that', async () => {
    const lanyard = await start(workers);
    const counts = { issued: 0, failed: 0 };
    const stop = load(lanyard, counts);
    await until(() => counts.issued > 50, 'load');
    proxy.cut();
    const cutAt = performance.now();
    await until(async () => (await readiness(lanyard)) === 503, 'not ready');
    const noticedMs = performance.now() - cutAt;
    expect(noticedMs).toBeLessThan(RECOVERY_MS);

    proxy.mend();
    const mendedAt = performance.now();
    const before = counts.issued;
    await until(() => counts.issued > before + 50, 'tokens after the cut');
    await until(async () => (await readiness(lanyard)) === 200, 'readiness after the cut');
    const recoveredMs = performance.now() - mendedAt;
    expect(recoveredMs).toBeLessThan(RECOVERY_MS);
    await stop();
    // What nobody asks for while it is cut goes on too: key reads, the sweep.
    const admin = createAdminClient(lanyard.issuer, ADMIN_SECRET);
    const { body: added } = await admin.request('POST', '/keys', { alg: 'Ed25519' });
    const jwks = async () =>
      (await toAnswer(await fetch(`${lanyard.issuer}/oauth2/jwks`))).body.keys as { kid: string }[];
    await until(async () => (await jwks()).some(({ kid }) => kid === added.kid), 'the new key');
    await sql.query(`INSERT INTO replay_guard (id, expires_at) VALUES ('swept', now() - interval '1 day')`);
    await until(async () => (await sql.query('SELECT FROM replay_guard')).rowCount === 0, 'the sweep');
    console.log(
      `${workers} processes: noticed after ${Math.round(noticedMs)} ms, back ${Math.round(recoveredMs)} ms later`,
    );
  });

  test('SIGTERM ends it while the database is silent', async () => {
    const lanyard = await start(workers);
    const counts = { issued: 0, failed: 0 };
    const stop = load(lanyard, counts);
    await until(() => counts.issued > 50, 'load');
    proxy.cut();
    await until(() => counts.failed > 0, 'a refusal');
    const stoppedAt = performance.now();
    lanyard.kill('SIGTERM');
    expect(await lanyard.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - stoppedAt).toBeLessThan(GRACE_MS);
    await stop();
  });
});

test('a process that was stopped for a while finds the answers that have arrived meanwhile', async () => {
  const lanyard = await start(1);
  const lock = await lockTable(database.connectionString, 'audit_events');
  const answers = Promise.all(Array.from({ length: 5 }, () => requestToken(lanyard.issuer, ADMIN)));
  await until(async () => (await countBlocked(sql)) > 0, 'the statement waits');
  lanyard.kill('SIGSTOP');
  await lock.release();
  await until(async () => (await countBlocked(sql)) === 0, 'the statement has ended');
  // Longer than each deadline.
  await sql.query('SELECT pg_sleep(8)');
  lanyard.kill('SIGCONT');
  expect((await answers).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
});
