// Several processes (LANYARD_WORKERS) of which some die or hang: they are replaced, the background jobs go on in exactly one of them, and
// what has been counted stays counted.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import { until, untilSecond } from '../support/patience.ts';
import {
  isAlive,
  type LanyardProcess,
  makeHome,
  removeHome,
  serverProcessesBelow,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { ADMIN_SECRET, freePort, SECRET_KEY } from '../support/server.ts';

const WORKERS = 2;
const LAST_SWEEP = 'lanyard_prune_last_success_timestamp_seconds';
const HANGS = 'a worker does not answer';

let home: string;
let database: TestDatabase;
let metricsPort: number;
let lanyard: LanyardProcess;
beforeEach(async () => {
  home = await makeHome();
  database = await createTestDatabase();
  metricsPort = await freePort();
  const env = {
    DATABASE_URL: database.connectionString,
    LANYARD_SECRET_KEY: SECRET_KEY,
    LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
    LANYARD_DATABASE_POOL_SIZE: '4',
    LANYARD_WORKERS: String(WORKERS),
    LANYARD_METRICS_PORT: String(metricsPort),
  };
  lanyard = await start({ home, env });
});
afterEach(async () => {
  await stopAll();
  await database.drop();
  await removeHome(home);
});

const workerPids = () => serverProcessesBelow(lanyard.pid);

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) process.kill(pid, name);
}

/** The workers to which the background jobs were given, one after the other. */
function backgroundWorkers(): number[] {
  return [...lanyard.stdout.matchAll(/"pid":(\d+),"msg":"a worker runs the background jobs"/g)].map(([, pid]) =>
    Number(pid),
  );
}

/** Resolves when there are as many workers as at first, none of them in the list, and one of them has the background jobs. */
async function untilReplaced(gone: readonly number[]): Promise<number[]> {
  let pids: number[] = [];
  await until(async () => {
    pids = await workerPids();
    const isComplete = pids.length === WORKERS && !pids.some((pid) => gone.includes(pid));
    return isComplete && pids.includes(backgroundWorkers().at(-1) as number);
  }, 'the replacement');
  return pids;
}

async function requestTokens(count: number): Promise<void> {
  const client = { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET };
  for (let n = 0; n < count; n++) expect((await requestToken(lanyard.issuer, client)).status).toBe(200);
}

async function scrape(): Promise<Exposition> {
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  expect(response.status).toBe(200);
  return parseExposition(await response.text());
}

const tokensIn = (exposition: Exposition) => exposition.sum('lanyard_tokens_issued_total');
const lastSweepIn = (exposition: Exposition) => exposition.value(LAST_SWEEP);

describe('the background jobs', () => {
  test('are sampled from the start, and go on when all workers have died together', async () => {
    // Before the first sweep. Without a sample no alert on its age would ever fire.
    expect((await scrape()).samples.map(({ name }) => name)).toContain(LAST_SWEEP);
    const pids = await workerPids();
    // The primary learns of both at once.
    signal([lanyard.pid], 'SIGSTOP');
    signal(pids, 'SIGKILL');
    for (const pid of pids) await until(async () => !(await isAlive(pid)), 'the end of a worker');
    signal([lanyard.pid], 'SIGCONT');
    await untilReplaced(pids);
    const replacedAt = Date.now() / 1_000;
    await until(async () => lastSweepIn(await scrape()) > replacedAt, 'a sweep');
  });

  test('go from one worker to the next, one at a time, also when the next one dies while it starts', async () => {
    const [first] = backgroundWorkers() as [number];
    signal([first], 'SIGKILL');
    await until(() => backgroundWorkers().length === 2, 'the second');
    const [, second] = backgroundWorkers() as [number, number];
    expect(second).not.toBe(first);
    let starting: number[] = [];
    await until(async () => {
      starting = (await workerPids()).filter((pid) => pid !== first && pid !== second);
      return starting.length > 0;
    }, 'a worker that starts');
    signal([...starting, second], 'SIGKILL');
    await untilReplaced([first, second, ...starting]);
    // The worker that was starting may have listened just before.
    expect(backgroundWorkers().filter((pid) => !starting.includes(pid))).toHaveLength(3);
  });
});

test('a worker that hangs is killed and replaced; requests and scrapes are answered, and no counter falls', async () => {
  await requestTokens(40);
  const issued = tokensIn(await scrape());
  expect(issued).toBe(40);
  const [hanging] = backgroundWorkers() as [number];
  signal([hanging], 'SIGSTOP');
  expect(tokensIn(await scrape())).toBe(issued);
  const pids = await untilReplaced([hanging]);
  expect(lanyard.stdout).toContain(HANGS);
  await requestTokens(1);
  await until(async () => tokensIn(await scrape()) === issued + 1, 'the sum');
  signal(pids, 'SIGKILL');
  expect(tokensIn(await scrape())).toBe(issued + 1);
  await untilReplaced(pids);
  expect(tokensIn(await scrape())).toBe(issued + 1);
  expect(await stop(lanyard, 'SIGTERM')).toBe(0);
});

test('a machine that was suspended goes on with the same workers', async () => {
  const pids = await workerPids();
  const all = [lanyard.pid, ...pids];
  signal(all, 'SIGSTOP');
  await untilSecond(Date.now() / 1_000 + 14);
  // The primary goes on first, and finds workers that have been silent for so long.
  signal(all, 'SIGCONT');
  await untilSecond(Date.now() / 1_000 + 3);
  await requestTokens(5);
  expect(await workerPids()).toEqual(pids);
  expect(lanyard.stdout).not.toContain(HANGS);
});
