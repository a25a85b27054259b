// Sweeping: what has expired goes, nothing else, also when two nodes sweep at once.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import { pruneOnce } from '../../src/provider/prune.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 4, queueSize: 100, log: createLog('silent') });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const run = (text: string) => database.pool.query(text);

test('two nodes that sweep at once remove each expired row once, and leave the others', async () => {
  await run(`INSERT INTO oidc_artifacts (model, id, payload, issued_at, expires_at, consumed_at)
    SELECT model, decode(md5(model || n), 'hex'), '{}', now(), now() + age, CASE WHEN n % 2 = 0 THEN now() END
    FROM generate_series(1, 3000) n, (VALUES ('AccessToken', interval '-2 hours'), ('RefreshToken', interval '1 day'),
      ('Session', interval '-10 minutes')) kinds (model, age)`);
  await run(`INSERT INTO revoked_tokens SELECT decode(md5(n::text), 'hex'), now() + (n - 2) * interval '2 hours'
    FROM generate_series(1, 3) n`);
  await run(`INSERT INTO replay_guard SELECT decode(md5(n::text), 'hex'), now() + (n - 2) * interval '2 hours'
    FROM generate_series(1, 3) n`);
  await run(`INSERT INTO login_throttle VALUES ('old', 1, 1), ('new', 1, extract(epoch FROM now()) * 1000 + 60000)`);

  const removed = await Promise.all([pruneOnce(database), pruneOnce(database)]);
  const total = (name: string) => removed.reduce((sum, one) => sum + (one[name] ?? 0), 0);
  expect(total('prune_artifacts')).toBe(3000);
  expect(total('prune_revoked_tokens')).toBe(1);
  expect(total('prune_replay_guard')).toBe(1);
  expect(total('prune_login_throttle')).toBe(1);
  const { rows } = await run('SELECT model, count(*)::int FROM oidc_artifacts GROUP BY model ORDER BY model');
  // Consumed refresh tokens stay: a replay must be noticed for as long as they would have lived.
  expect(rows).toEqual([
    { model: 'RefreshToken', count: 3000 },
    { model: 'Session', count: 3000 },
  ]);
});
