// kill -9 of the server, or of its database, during many writes. Afterwards nothing is half-written, everything that was answered is
// stored, and the next start is an ordinary one.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { artifactId } from '../../src/provider/storage/artifacts.ts';
import { requestToken, type TestClient } from '../support/admin.ts';
import { refresh } from '../support/oauth.ts';
import { eventually, until } from '../support/patience.ts';
import {
  isAlive,
  type LanyardProcess,
  makeHome,
  postmasterOf,
  removeHome,
  start,
  stop,
  stopAll,
  withDatabase,
} from '../support/process.ts';
import { freePort, type TestServer } from '../support/server.ts';
import { prepareStorm, type Storm, startStorm } from '../support/storm.ts';

let home: string;
/** The issuer names it, and the admin client may call the admin API of its issuer. */
let port: number;
let adminSecret: string;
let app: TestClient;

beforeAll(async () => {
  home = await makeHome();
  port = await freePort();
  const lanyard = await start({ home, port });
  adminSecret = lanyard.adminSecret as string;
  app = await prepareStorm(lanyard.issuer, adminSecret);
  expect(await stop(lanyard)).toBe(0);
});
afterEach(stopAll);
afterAll(() => removeHome(home));

async function inTheMiddle(storm: Storm, answers: number): Promise<void> {
  await until(() => storm.count() >= answers, `${answers} answers`);
}

/** Rows that a half-written request would leave. */
const HALVES = {
  'clients without a secret': `SELECT client_id FROM clients c WHERE metadata->>'token_endpoint_auth_method' <> 'none'
    AND (SELECT count(*) FROM client_secrets s WHERE s.client_id = c.client_id) <> 1`,
  'clients without their one audit event': `SELECT client_id FROM clients c
    WHERE (SELECT count(*) FROM audit_events e WHERE e.client_id = c.client_id AND e.type = 'client.created') <> 1`,
  'audit events of clients that do not exist': `SELECT client_id FROM audit_events e WHERE type = 'client.created'
    AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = e.client_id)`,
  'policy rows without their audit event': `SELECT client_id FROM client_grants g WHERE NOT EXISTS
    (SELECT 1 FROM audit_events e WHERE e.client_id = g.client_id AND e.type = 'client_grant.set')`,
  'token families without exactly one live refresh token': `SELECT grant_id FROM oidc_artifacts WHERE model = 'RefreshToken'
    GROUP BY grant_id HAVING count(*) FILTER (WHERE consumed_at IS NULL) <> 1`,
  'refreshes that gave one kind of token without the other': `SELECT grant_id FROM oidc_artifacts
    WHERE model IN ('RefreshToken', 'AccessToken') GROUP BY grant_id
    HAVING count(*) FILTER (WHERE model = 'RefreshToken') <> count(*) FILTER (WHERE model = 'AccessToken')`,
  'tokens without an audit event, or the other way round': `SELECT 1 WHERE
    (SELECT count(*) FROM oidc_artifacts WHERE model IN ('RefreshToken', 'AccessToken', 'ClientCredentials')) <>
    (SELECT count(*) FROM audit_events WHERE type = 'token.issued' AND detail->>'format' IS NULL)`,
};

async function halves(): Promise<Record<string, number>> {
  return withDatabase(home, async (sql) => {
    const counts: Record<string, number> = {};
    for (const [name, text] of Object.entries(HALVES)) counts[name] = (await sql.query(text)).rowCount ?? -1;
    return counts;
  });
}

const NO_HALVES = Object.fromEntries(Object.keys(HALVES).map((name) => [name, 0]));

async function expectEverythingThere(lanyard: LanyardProcess, storm: Storm): Promise<void> {
  expect(await halves()).toEqual(NO_HALVES);
  expect(lanyard.stderr).not.toContain('client_secret');
  for (const client of storm.clients.slice(-20)) {
    const answer = await requestToken(lanyard.issuer, client, { resource: 'https://opaque.example' });
    // The last clients of the storm may not have got their policy row; their secret must be right all the same.
    expect([200, 400]).toContain(answer.status);
    if (answer.status === 400) expect(answer.body.error).toBe('invalid_target');
  }
  const stored = await withDatabase(home, (sql) => sql.query('SELECT client_id FROM clients'));
  expect(stored.rows.map((row) => row.client_id)).toEqual(
    expect.arrayContaining(storm.clients.map(({ clientId }) => clientId)),
  );
}

/**
 * Every refresh token that an answer brought is stored; one that was not used since can be used. The others were rotated by
 * a request whose answer was lost.
 */
async function expectFamiliesGoOn(lanyard: LanyardProcess, storm: Storm): Promise<void> {
  for (const token of storm.refreshTokens) {
    const { rows } = await withDatabase(home, (sql) =>
      sql.query("SELECT consumed_at FROM oidc_artifacts WHERE model = 'RefreshToken' AND id = $1", [
        artifactId('RefreshToken', token),
      ]),
    );
    expect(rows).toHaveLength(1);
    if (rows[0].consumed_at !== null) continue;
    const { status } = await refresh({ issuer: lanyard.issuer } as TestServer, app, token);
    expect(status).toBe(200);
  }
}

test('what a half-written request leaves would be noticed', async () => {
  const lanyard = await start({ home, port });
  const storm = await startStorm(lanyard.issuer, adminSecret, app);
  await inTheMiddle(storm, 10);
  lanyard.kill('SIGKILL');
  await storm.over;
  await lanyard.exited;
  const again = await start({ home, port });
  expect(await halves()).toEqual(NO_HALVES);
  const damages = [
    "DELETE FROM client_secrets WHERE id = (SELECT id FROM client_secrets WHERE id <> 'first' LIMIT 1)",
    'INSERT INTO clients (client_id, metadata) VALUES (\'half\', \'{"token_endpoint_auth_method":"none"}\')',
    "INSERT INTO audit_events (type, actor, client_id) VALUES ('client.created', 'system', 'never')",
    "INSERT INTO client_grants (client_id, resource_server, scopes) VALUES ('half', 'https://opaque.example', '{}')",
    "UPDATE oidc_artifacts SET consumed_at = now() WHERE model = 'RefreshToken'",
    `DELETE FROM oidc_artifacts WHERE (model, id) = (SELECT model, id FROM oidc_artifacts WHERE model = 'AccessToken' LIMIT 1)`,
  ];
  await withDatabase(home, async (sql) => {
    await sql.query('BEGIN');
    for (const damage of damages) await sql.query(damage);
    const unnoticed: string[] = [];
    for (const [name, text] of Object.entries(HALVES)) {
      if ((await sql.query(text)).rowCount === 0) unnoticed.push(name);
    }
    expect(unnoticed).toEqual([]);
    await sql.query('ROLLBACK');
  });
  await stop(again);
});

describe('kill -9 of the server in the middle of a storm of writes', () => {
  test.each([15, 60, 140])(
    'after %i answers: nothing is half-written, the next start finds everything',
    async (answers) => {
      const lanyard = await start({ home, port });
      const storm = await startStorm(lanyard.issuer, adminSecret, app);
      await inTheMiddle(storm, answers);
      lanyard.kill('SIGKILL');
      expect((await lanyard.exited).signal).toBe('SIGKILL');
      await storm.over;
      const orphan = await postmasterOf(home);
      expect(await isAlive(orphan?.pid as number)).toBe(true);

      const again = await start({ home, port });
      expect(await isAlive(orphan?.pid as number)).toBe(false);
      await expectEverythingThere(again, storm);
      await expectFamiliesGoOn(again, storm);
      expect(await stop(again)).toBe(0);
    },
  );
});

describe('kill -9 of PostgreSQL in the middle of a storm of writes', () => {
  test.each([20, 90])(
    'after %i answers: the server says so and ends, the next start finds everything',
    async (answers) => {
      const lanyard = await start({ home, port });
      const storm = await startStorm(lanyard.issuer, adminSecret, app);
      await inTheMiddle(storm, answers);
      process.kill((await postmasterOf(home))?.pid as number, 'SIGKILL');
      expect((await lanyard.exited).code).toBe(1);
      expect(lanyard.stderr).toMatch(/^The database has ended; stopping\.$/m);
      await storm.over;

      const again = await start({ home, port });
      await expectEverythingThere(again, storm);
      await expectFamiliesGoOn(again, storm);
      expect(await stop(again)).toBe(0);
    },
  );

  test('a single backend that dies takes nothing along: PostgreSQL recovers and the server goes on', async () => {
    const lanyard = await start({ home, port });
    const { rows } = await withDatabase(home, (sql) =>
      sql.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'lanyard'"),
    );
    process.kill(rows[0].pid, 'SIGKILL');
    const client = { clientId: 'lanyard-admin', clientSecret: adminSecret };
    await eventually(async () => expect((await requestToken(lanyard.issuer, client)).status).toBe(200));
    expect(await halves()).toEqual(NO_HALVES);
    expect(await stop(lanyard)).toBe(0);
  });
});
