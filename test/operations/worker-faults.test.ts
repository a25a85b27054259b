// Several processes behind one port (LANYARD_WORKERS), where a start or a stop meets a fault: both come to an end all the same, and no
// process is left.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrateToLatest } from '../../src/database/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';
import {
  type LanyardProcess,
  launch,
  makeHome,
  removeHome,
  serverProcessesBelow,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { freePort } from '../support/server.ts';

let home: string;
let database: TestDatabase;
beforeEach(async () => {
  home = await makeHome();
  database = await createTestDatabase();
});
afterEach(async () => {
  await stopAll();
  await database.drop();
  await removeHome(home);
});

function options(workers: number, env: Record<string, string> = {}) {
  const ownEnv = {
    DATABASE_URL: database.connectionString,
    LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
    LANYARD_DATABASE_POOL_SIZE: '4',
    LANYARD_WORKERS: String(workers),
  };
  return { home, env: { ...ownEnv, ...env } };
}

async function query(text: string): Promise<void> {
  const sql = new pg.Client(database.connectionString);
  await sql.connect();
  await sql.query(text).finally(() => sql.end());
}

/** What the primary has logged about workers that have exited. */
function restarts({ stdout }: LanyardProcess): { restart_in_ms: number; time: string; reason?: string }[] {
  const lines = stdout.split('\n').filter((line) => line.includes('"restart_in_ms"') && line.endsWith('}'));
  return lines.map((line) => JSON.parse(line));
}

async function firstWorkers(lanyard: LanyardProcess): Promise<number[]> {
  let workers: number[] = [];
  await until(async () => {
    workers = await serverProcessesBelow(lanyard.pid);
    return workers.length > 0;
  }, 'a worker');
  return workers;
}

const isGone = async (pids: number[], lanyard: LanyardProcess) =>
  (await serverProcessesBelow(lanyard.pid)).every((pid) => !pids.includes(pid));

describe('a first start that fails ends with code 1, closes the metrics listener and leaves no worker', () => {
  test('when the admin client cannot be stored, which is the last step', async () => {
    await query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'clients are not stored today'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION refuse()`);
    const metricsPort = await freePort();
    const lanyard = await launch(options(2, { LANYARD_METRICS_PORT: String(metricsPort) }));
    expect(await lanyard.exited).toEqual({ code: 1, signal: null });
    expect(lanyard.stderr).toContain('clients are not stored today');
    await expect(fetch(`http://127.0.0.1:${metricsPort}/metrics`)).rejects.toThrow('fetch failed');
    expect(await serverProcessesBelow(lanyard.pid)).toEqual([]);
  });

  test('when a worker is killed before it listens', async () => {
    await migrateToLatest(database.connectionString);
    // A worker reads the signing keys before it listens.
    const keys = await lockTable(database.connectionString, 'signing_keys');
    const lanyard = await launch(options(2));
    const [worker] = await firstWorkers(lanyard);
    process.kill(worker as number, 'SIGKILL');
    await keys.release();
    expect(await lanyard.exited).toEqual({ code: 1, signal: null });
    expect(lanyard.stderr).toContain('SIGKILL');
  });
});

describe('a stop', () => {
  test('does not wait for the replacement of a worker, however long the delay has become', async () => {
    const lanyard = await start(options(4));
    // From now on no worker can start.
    await query('ALTER TABLE signing_keys RENAME TO hidden_keys');
    for (const pid of await serverProcessesBelow(lanyard.pid)) process.kill(pid, 'SIGKILL');
    await until(() => restarts(lanyard).some((each) => each.restart_in_ms > 25_000), 'a long delay');
    const last = restarts(lanyard).at(-1);
    expect(last?.reason).toContain('signing_keys');
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(Date.now()).toBeLessThan(Date.parse(last?.time as string) + 25_000);
  });

  test('comes to an end when a worker is blocked: it is killed', async () => {
    const lanyard = await start(options(2));
    const [blocked] = await serverProcessesBelow(lanyard.pid);
    process.kill(blocked as number, 'SIGSTOP');
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(await isGone([blocked as number], lanyard)).toBe(true);
  });

  test('during the start ends it without an error, also when a worker dies of the same Ctrl-C', async () => {
    const lanyard = await launch(options(2));
    const workers = await firstWorkers(lanyard);
    for (const pid of [lanyard.pid, ...workers]) process.kill(pid, 'SIGINT');
    expect(await lanyard.exited).toEqual({ code: 0, signal: null });
    expect(lanyard.stderr).toMatch(/^(Lanyard is running\..*)?\nStopping\.\n$/s);
    expect(await isGone(workers, lanyard)).toBe(true);
  });

  test('ends when a worker dies while it drains', async () => {
    const lanyard = await start(options(2));
    const workers = await serverProcessesBelow(lanyard.pid);
    process.kill(workers[0] as number, 'SIGSTOP');
    lanyard.kill('SIGTERM');
    await lanyard.says('Stopping.');
    process.kill(workers[0] as number, 'SIGKILL');
    expect(await lanyard.exited).toEqual({ code: 0, signal: null });
    expect(restarts(lanyard)).toEqual([]);
    expect(await isGone(workers, lanyard)).toBe(true);
  });
});
