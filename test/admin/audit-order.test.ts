// The audit log is sorted by number, newest first: as text, event 10 would come before event 9.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { listAuditEvents } from '../../src/audit/store.ts';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 2, queueSize: 100, log: createLog('silent') });
  // One event a minute, the oldest two hours ago; every tenth is a failed login.
  await database.pool.query(`INSERT INTO audit_events (type, actor, client_id, at)
    SELECT CASE WHEN n % 10 = 0 THEN 'login.failed' ELSE 'token.issued' END, 'system', 'app-' || n % 3,
      '2030-01-01T00:00:00Z'::timestamptz + n * interval '1 minute' FROM generate_series(1, 120) n`);
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const list = async (filter: Parameters<typeof listAuditEvents>[1], beforeId?: string) =>
  (await listAuditEvents(database.query, filter, { limit: 3, beforeId })).map(({ id }) => Number(id));

test('events are listed newest first in pages, also where the number of digits changes', async () => {
  expect(await list({})).toEqual([120, 119, 118, 117]);
  expect(await list({}, '101')).toEqual([100, 99, 98, 97]);
  expect(await list({}, '11')).toEqual([10, 9, 8, 7]);
});

test('events are filtered by type, client and time, exactly', async () => {
  expect(await list({ type: 'login.failed' })).toEqual([120, 110, 100, 90]);
  expect(await list({ type: 'token.issued' }, '12')).toEqual([11, 9, 8, 7]);
  expect(await list({ clientId: 'app-1' }, '12')).toEqual([10, 7, 4, 1]);
  expect(await list({ until: '2030-01-01T01:00:00Z' })).toEqual([59, 58, 57, 56]);
  expect(await list({ since: '2030-01-01T01:58:00Z' })).toEqual([120, 119, 118]);
  expect(await list({ since: '2030-01-01T00:05:00Z', until: '2030-01-01T00:07:00Z' })).toEqual([6, 5]);
  expect(await list({ until: '2030-01-01T00:00:00Z' })).toEqual([]);
  expect(await list({ since: '2031-01-01T00:00:00Z' })).toEqual([]);
});
