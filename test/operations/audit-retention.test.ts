// LANYARD_AUDIT_RETENTION_DAYS on a whole server.

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ LANYARD_AUDIT_RETENTION_DAYS: '30' });
});
afterEach(() => server.stop());

test('events older than the operator wants go by themselves, younger ones stay', async () => {
  await server.sql.query(`INSERT INTO audit_events (type, actor, at)
    SELECT 'token.issued', 'retention-test', now() - days * interval '1 day' FROM unnest(ARRAY[31, 90, 29]) days`);
  const left = async () =>
    (await server.sql.query(`SELECT count(*)::int AS count FROM audit_events WHERE actor = 'retention-test'`)).rows[0]
      .count;
  // The first sweep comes a quarter of a minute after the start.
  await until(async () => (await left()) < 3, 'a sweep');
  expect(await left()).toBe(1);
});
