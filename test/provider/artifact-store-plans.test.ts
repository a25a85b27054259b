// The plans of batches are made once and kept: the ones that were made while the tables were empty
// must not read them whole when they have grown.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import {
  AlreadyConsumedError,
  type ArtifactStore,
  createArtifactStore,
} from '../../src/provider/storage/artifact-store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const ROWS = 10_000;
const NEEDED = 5;
const FLUSH = { name: 'test_flush', text: 'SELECT pg_stat_force_next_flush()' };
const BACKEND = { name: 'test_backend', text: 'SELECT pg_backend_pid() AS pid' };

let testDatabase: TestDatabase;
let database: Database;
let artifactStore: ArtifactStore;
let sql: pg.Pool;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  // One connection for batches, which is kept while the tables are filled: the first plans are the
  // last ones.
  database = createDatabase({ connectionString, poolSize: 3, queueSize: 1_000, log: createLog('silent') });
  database.batchPool.options.idleTimeoutMillis = 0;
  artifactStore = createArtifactStore(database);
  sql = new pg.Pool({ connectionString, max: 1 });
});
afterAll(async () => {
  await database.close();
  await sql.end();
  await testDatabase.drop();
});

/** Each alone has a statement for its partition; together they have one for the whole table. */
const FOUND = [['RefreshToken'], ['AccessToken'], ['AuthorizationCode'], ['RefreshToken', 'AccessToken']];
const CONSUMED = [['RefreshToken'], ['AuthorizationCode'], ['RefreshToken', 'AuthorizationCode']];

async function useAllStatements(ids: readonly Buffer[]): Promise<void> {
  for (const models of FOUND) {
    const keys = models.flatMap((model) => ids.map((id) => ({ model, id })));
    await Promise.all(keys.map(({ model, id }) => artifactStore.find(model, id)));
    await Promise.all(keys.map(({ model, id }) => artifactStore.findTokenWithGrant(model, id)));
  }
  await Promise.all(ids.map((id) => artifactStore.findSessions(id.toString('hex'))));
  await Promise.all(ids.map((id) => artifactStore.findJwtStatus(id, id)));
  const members = { clientId: undefined, accountId: undefined, grantId: undefined, userCode: undefined };
  const artifact = { payload: {}, issuedAt: 1, expiresAt: 2, uid: undefined, ...members };
  for (const models of CONSUMED) {
    await Promise.all(
      models.flatMap((model) =>
        ids.map(async (id) => {
          const session = { ...artifact, id: randomBytes(32), model: 'Session' };
          await artifactStore.commit([{ kind: 'upsert', artifact: session }]);
          await artifactStore
            .commit([
              { kind: 'consume', model, id },
              { kind: 'upsert', artifact: { ...artifact, id: randomBytes(32), model: 'RefreshToken' } },
              { kind: 'audit', event: { type: 'token.issued', actor: 'system' } },
            ])
            .catch((error: unknown) => {
              if (!(error instanceof AlreadyConsumedError)) throw error; // there is nothing to consume, or no more
            });
        }),
      ),
    );
  }
  await useReusing(ids);
}

/** A refresh token that is used again, within its grace or not. */
async function useReusing(ids: readonly Buffer[]): Promise<void> {
  const event = { type: 'refresh_token.reused_in_grace', actor: 'system' } as const;
  for (const id of ids) {
    await artifactStore
      .commit([{ kind: 'consume', model: 'RefreshToken', id, reuse: { graceSeconds: 60, event } }])
      .catch((error: unknown) => {
        if (!(error instanceof AlreadyConsumedError)) throw error;
      });
  }
}

async function scans(): Promise<{ whole: number; rowsOfWhole: number; byIndex: number; entriesOfIndex: number }> {
  await database.batchQuery(FLUSH, []);
  const { rows } = await sql.query(
    `SELECT sum(seq_scan)::int AS whole, sum(seq_tup_read)::int AS rows_of_whole, sum(idx_scan)::int AS by_index
     FROM pg_stat_user_tables WHERE relname LIKE 'oidc_artifacts%' OR relname IN ('revoked_tokens', 'audit_events')`,
  );
  const { rows: indexes } = await sql.query('SELECT sum(idx_tup_read)::int AS entries FROM pg_stat_user_indexes');
  const { whole, rows_of_whole: rowsOfWhole, by_index: byIndex } = rows[0];
  return { whole, rowsOfWhole, byIndex, entriesOfIndex: indexes[0].entries };
}

async function backend(): Promise<number | undefined> {
  return (await database.batchQuery<{ pid: number }>(BACKEND, [])).rows[0]?.pid;
}

test('statements that were planned on empty tables find their rows by index among ten thousand', async () => {
  const startedOn = await backend();
  const unknown = Array.from({ length: NEEDED }, () => randomBytes(32));
  for (let time = 0; time < 10; time++) await useAllStatements(unknown);
  expect(await scans()).toMatchObject({ whole: 0 });

  await sql.query(
    `INSERT INTO oidc_artifacts (model, id, payload, uid, grant_id, issued_at, expires_at)
     SELECT model, sha256(n::text::bytea), '{}', CASE model WHEN 'Grant' THEN NULL ELSE uid END, sha256(n::text::bytea),
       now(), now() + interval '1 hour'
     FROM generate_series(1, $1::int) n, encode(sha256(n::text::bytea), 'hex') uid,
       unnest('{RefreshToken,AccessToken,AuthorizationCode,Grant,Session}'::text[]) model`,
    [ROWS],
  );
  await sql.query(
    `INSERT INTO revoked_tokens SELECT sha256(n::text::bytea), 'infinity' FROM generate_series(1, $1::int) n`,
    [ROWS],
  );
  const { rows } = await sql.query('SELECT sha256(n::text::bytea) AS id FROM generate_series(1, $1::int) n', [NEEDED]);
  const ids = rows.map(({ id }) => id as Buffer);
  await sql.query('SELECT pg_stat_force_next_flush()');
  const before = await scans();
  await useAllStatements(ids);
  const after = await scans();
  expect(after).toMatchObject({ whole: before.whole, rowsOfWhole: before.rowsOfWhole });
  expect(after.byIndex - before.byIndex).toBeGreaterThanOrEqual(8 * NEEDED);
  // An index that is read from end to end is no better than the table.
  expect(after.entriesOfIndex - before.entriesOfIndex).toBeLessThan(100 * NEEDED);
  expect(await artifactStore.findTokenWithGrant('RefreshToken', ids[0] as Buffer)).toMatchObject({
    grant: {},
    session: {},
  });
  for (const model of CONSUMED.flat()) {
    for (const id of ids) expect(await artifactStore.find(model, id)).toMatchObject({ consumedAt: expect.any(Number) });
  }
  expect(await backend()).toBe(startedOn);
});

test('a statement that reads a table whole is seen by this measure', async () => {
  const before = await scans();
  await sql.query('SELECT count(payload::text) FROM oidc_artifacts_refresh_tokens');
  await sql.query('SELECT pg_stat_force_next_flush()');
  expect((await scans()).rowsOfWhole - before.rowsOfWhole).toBeGreaterThan(ROWS);
});
