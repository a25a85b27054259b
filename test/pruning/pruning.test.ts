// Sweeping: expired rows are removed, and no others, also when several nodes sweep at once and a request has locked a row.

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createDatabase, type Database, type Query } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { pruneOnce, startPruning } from '../../src/pruning/pruning.ts';
import { createPruner, nextBatchRows, type PruneReport } from '../../src/pruning/round.ts';
import { PRUNED_TABLES } from '../../src/pruning/sweeps.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/patience.ts';

let testDatabase: TestDatabase;
let database: Database;
const silent = createLog('silent');

beforeEach(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 8, queueSize: 100, log: silent });
});
afterEach(async () => {
  await database.close();
  await testDatabase.drop();
});

const run = (text: string) => database.pool.query(text);

/** Rows of one model that expire, or have expired, that long from now. */
const fill = (model: string, rows: number, age: string) =>
  run(`INSERT INTO oidc_artifacts (model, id, payload, issued_at, expires_at, consumed_at)
    SELECT '${model}', decode(md5('${model}${age}' || n), 'hex'), '{}', now() - interval '1 day',
      now() + interval '${age}' + n * interval '1 millisecond', CASE WHEN n % 2 = 0 THEN now() END
    FROM generate_series(1, ${rows}) n`);
const count = async (condition = 'true') =>
  (await run(`SELECT count(*)::int FROM oidc_artifacts WHERE ${condition}`)).rows[0].count as number;
const total = (reports: PruneReport[]) => reports.flatMap((one) => Object.values(one.removed)).reduce((a, b) => a + b);

test('rows that have been expired for an hour are removed from every table that has an expiry; others stay', async () => {
  await fill('AccessToken', 300, '-2 hours');
  // After minutes: strangers store them.
  await fill('DeviceCode', 20, '-10 minutes');
  await fill('PushedAuthorizationRequest', 10, '-1 minute');
  await fill('RefreshToken', 300, '1 day');
  await fill('Session', 300, '-10 minutes');
  for (const table of ['revoked_tokens', 'replay_guard']) {
    await run(`INSERT INTO ${table} SELECT decode(md5(n::text), 'hex'), now() + (n - 2) * interval '2 hours'
      FROM generate_series(1, 3) n`);
  }
  await run(`INSERT INTO login_throttle VALUES ('old', 1, 1), ('new', 1, extract(epoch FROM now()) * 1000 + 60000)`);
  await run(`INSERT INTO clients VALUES ('app', 'App', '{}')`);
  await run(
    `INSERT INTO client_secrets VALUES ('for ever', 'app', 'x', now(), NULL), ('over', 'app', 'x', now(), now() - interval '2 h')`,
  );
  await run(
    `INSERT INTO initial_access_tokens (id, token_hash, note, max_uses, allowed, expires_at)
     SELECT n, decode(md5(n::text), 'hex'), '', 1, '{}', now() + (n - 2) * interval '2 hours' FROM generate_series(1, 3) n`,
  );

  const report = await pruneOnce(database);
  expect(report.removed).toEqual({
    ...Object.fromEntries(PRUNED_TABLES.map((table) => [table, 0])),
    oidc_artifacts_access_tokens: 300,
    oidc_artifacts_other: 20,
    revoked_tokens: 1,
    replay_guard: 1,
    client_secrets: 1,
    initial_access_tokens: 1,
    login_throttle: 1,
  });
  expect(report.isBehind).toBe(false);
  // Consumed refresh tokens stay: a replay must be noticed for as long as they would have lived.
  expect(await count("model = 'RefreshToken' AND consumed_at IS NOT NULL")).toBe(150);
  expect(await count("model = 'Session'")).toBe(300);
  expect(await count("model = 'PushedAuthorizationRequest'")).toBe(10);
});

test('every partition is swept', async () => {
  const { rows } = await run(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'oidc_artifacts'::regclass`,
  );
  expect(PRUNED_TABLES).toEqual(expect.arrayContaining(rows.map((row) => row.name)));
});

test('every table whose rows expire is swept', async () => {
  const { rows } = await run(
    `SELECT c.relname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE a.attname = 'expires_at' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace`,
  );
  expect(rows.length).toBeGreaterThan(8);
  expect(PRUNED_TABLES).toEqual(expect.arrayContaining(rows.map((row) => row.name)));
});

test('four nodes at once remove each row exactly once, and none waits', async () => {
  await fill('AccessToken', 5_000, '-1 day');
  await run('ANALYZE oidc_artifacts');
  const reports = await Promise.all([1, 2, 3, 4].map(() => pruneOnce(database)));
  expect(total(reports)).toBe(5_000);
  // Rows that a node skipped because another had locked them are gone with the other's commit.
  expect(await count()).toBe(0);
});

test('a row that a request has locked is skipped without waiting, and removed an hour later at the latest', async () => {
  await fill('AccessToken', 1_000, '-1 day');
  const holder = await database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT 1 FROM oidc_artifacts ORDER BY expires_at LIMIT 1 FOR UPDATE');
  const pruner = createPruner(database.query);
  expect(total([await pruner.round()])).toBe(999);
  await holder.query('COMMIT');
  holder.release();
  expect(total([await pruneOnce(database)])).toBe(1);
});

test('a batch takes few rows, and fewer when it was slow', async () => {
  expect(nextBatchRows(100, 100, 10)).toBe(150);
  expect(nextBatchRows(200, 200, 1)).toBe(250);
  expect(nextBatchRows(200, 200, 40)).toBe(200);
  expect(nextBatchRows(200, 100, 10)).toBe(200);
  expect(nextBatchRows(400, 400, 51)).toBe(200);
  expect(nextBatchRows(51, 51, 2_000)).toBe(50);

  await fill('AccessToken', 1_000, '-1 day');
  const limits: number[] = [];
  const slow: Query = async (statement, values) => {
    limits.push(values[0] as number);
    if (limits.length < 3) await run('SELECT pg_sleep(0.06)');
    return database.query(statement, values);
  };
  await createPruner(slow).round();
  expect(limits.slice(0, 3)).toEqual([250, 125, 62]);
  expect(Math.max(...limits)).toBeLessThanOrEqual(250);
  expect(await count()).toBe(0);
});

test('the sweep goes on while rows are left, reports each round, and stops after the batch underway', async () => {
  await fill('AccessToken', 6_000, '-1 day');
  const slow: Database = {
    ...database,
    query: async (statement, values) => {
      if (statement.text.includes('access_tokens')) await run('SELECT pg_sleep(0.03)');
      return database.query(statement, values);
    },
  };
  const stop = startPruning(slow, silent, { intervalMs: 1 });
  await until(async () => (await count()) <= 5_000);
  const stopping = stop();
  const leftAtStop = await count();
  await stopping;
  const left = await count();
  expect(left).toBeGreaterThan(0);
  // It finishes the batch that it has begun, which is 250 rows at most.
  expect(leftAtStop - left).toBeLessThanOrEqual(250);

  const reports: PruneReport[] = [];
  const stopNext = startPruning(database, silent, { intervalMs: 1, onRound: (report) => reports.push(report) });
  const last = () => reports.at(-1);
  await until(() => reports.length > 1 && last()?.lagSeconds === 0, 'a round that finds nothing');
  await stopNext();
  expect(total(reports)).toBe(left);
  expect(reports[0]?.lagSeconds).toBeGreaterThan(22 * 3_600);
  expect(last()?.isBehind).toBe(false);
});

test('audit events are kept for ever, or for as long as the operator says, whichever server sweeps', async () => {
  const ages = ['400 days', '31 days', '29 days', '8 days', '1 minute'];
  for (const age of ages) {
    await run(`INSERT INTO audit_events (type, actor, at, detail)
      SELECT 'token.issued', '${age}', now() - interval '${age}', '{}' FROM generate_series(1, 300)`);
  }
  const left = async () =>
    (await run('SELECT actor, count(*)::int FROM audit_events GROUP BY actor, at ORDER BY at')).rows.map(
      ({ actor, count }) => [actor, count],
    );

  expect(total([await pruneOnce(database)])).toBe(0);
  const [first, second] = await Promise.all([1, 2].map(() => pruneOnce(database, { auditRetentionDays: 30 })));
  expect((first?.removed.audit_events ?? 0) + (second?.removed.audit_events ?? 0)).toBe(600);
  expect(Math.max(first?.lagSeconds ?? 0, second?.lagSeconds ?? 0)).toBeCloseTo(370 * 86_400, -2);
  expect(await left()).toEqual(ages.slice(2).map((age) => [age, 300]));

  // A connection that has swept is not one that may remove anything from then on.
  await expect(run('DELETE FROM audit_events')).rejects.toThrow('audit events are insert only');
});

test('the shortest retention is one that the schema accepts, also in a week in which clocks were turned back', async () => {
  const { connectionString } = testDatabase;
  // Summer time that ended three days ago, as POSIX writes it: seven days back would be 169 hours there.
  const dayOfYear = (daysAgo: number) => {
    const day = new Date(Date.now() - daysAgo * 86_400_000);
    const days = Math.floor((day.getTime() - Date.UTC(day.getUTCFullYear(), 0, 1)) / 86_400_000);
    return Math.min(days + 1, 365);
  };
  const timeZone = `WIN0SUM,J${dayOfYear(90)}/0,J${dayOfYear(3)}/0`;
  await run(`ALTER DATABASE ${new URL(connectionString).pathname.slice(1)} SET timezone = '${timeZone}'`);
  const there = createDatabase({ connectionString, poolSize: 2, queueSize: 100, log: silent });
  try {
    const { rows } = await there.pool.query(
      `SELECT extract(epoch FROM now() - (now() - interval '7 days'))::int / 3600 AS h`,
    );
    // Our connections are in UTC, whatever the database says.
    expect(rows).toEqual([{ h: 168 }]);
    await run(`INSERT INTO audit_events (type, actor, at)
      SELECT 'token.issued', 'system', now() - interval '168 hours' + n * interval '200 microseconds'
      FROM generate_series(-500, 5000) n`);
    const pruner = createPruner(there.query, { auditRetentionDays: 7 });
    let removed = 0;
    // The boundary moves through these rows while they are swept.
    await until(async () => {
      removed += (await pruner.round()).removed.audit_events;
      return removed === 5_501;
    }, 'the removal of every row');
  } finally {
    await there.close();
  }
});

test('many rounds are one audit event, and rounds that removed nothing are none', async () => {
  const events = async () => (await run(`SELECT detail FROM audit_events WHERE type = 'storage.pruned'`)).rows;
  let rounds = 0;
  const onRound = () => void rounds++;
  const idle = startPruning(database, silent, { intervalMs: 1, onRound });
  await until(() => rounds >= 3);
  await idle();
  expect(await events()).toEqual([]);

  await fill('AccessToken', 700, '-1 day');
  const stop = startPruning(database, silent, { intervalMs: 1, onRound });
  await until(() => rounds >= 6);
  await fill('AuthorizationCode', 7, '-2 hours');
  await until(async () => (await count()) === 0);
  await stop();
  const removed = { oidc_artifacts_access_tokens: 700, oidc_artifacts_codes: 7 };
  expect(await events()).toEqual([{ detail: expect.objectContaining({ removed }) }]);
});
