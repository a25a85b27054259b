// One run: load, and one fault after the other. After each the installation must recover, and the ledger
// must agree with what it says.

import { setTimeout as sleep } from 'node:timers/promises';
import { createAdmin } from './admin.ts';
import { type ChangeCounts, runChanges } from './changes/run-changes.ts';
import { createChecks } from './checks.ts';
import { FAULTS, type Fault } from './faults.ts';
import type { Installation } from './installation.ts';
import { type Ledger, NO_FAULT } from './ledger.ts';
import type { Play } from './load/actor.ts';
import { getTokens, introspectTokens, revokeTokens } from './load/client-tokens.ts';
import { signInAndRefresh } from './load/families.ts';
import { createFixtures, type Fixtures } from './load/fixtures.ts';
import type { Options } from './options.ts';
import type { Postgres } from './postgres.ts';
import { createRandom } from './random.ts';

const ACTORS = [
  getTokens,
  getTokens,
  introspectTokens,
  introspectTokens,
  revokeTokens,
  signInAndRefresh,
  signInAndRefresh,
];
const LANES = 2;
const LANES_ALONE = 10;
const PAUSE_MS = 50;
/** A connection that was on its way to a worker when that was killed is never answered. */
const PROBE_MS = 2_000;
/** Then it is a violation, and the next fault follows. */
const GIVE_UP_AFTER_MS = 120_000;
const CALM_MS = { least: 500, most: 2_000 };

export interface Deps {
  readonly installation: Installation;
  readonly postgres: Postgres;
  readonly ledger: Ledger;
  readonly options: Options;
  readonly say: (text: string) => void;
}

/** Changes of the admin API alone. */
export function runManyChanges({ installation, ledger, options, say }: Deps): Promise<ChangeCounts> {
  const random = createRandom(options.seed);
  let said = 0;
  return runChanges({
    world: { installation, random, admin: createAdmin(installation, ledger, random) },
    ledger,
    lanes: LANES_ALONE,
    disturbs: true,
    goesOn({ changes, requests, granted }) {
      if (changes >= said + 500) {
        said = changes;
        say(`${changes} changes, ${requests} requests after them, ${granted} granted`);
      }
      return changes < (options.changes as number);
    },
  });
}

export async function runFaults({ installation, postgres, ledger, options, say }: Deps): Promise<void> {
  const random = createRandom(options.seed);
  const admin = createAdmin(installation, ledger, createRandom(options.seed + 1));
  const fixtures = await createFixtures(admin);
  let isOver = false;
  const load = startLoad();
  const checks = createChecks(installation, ledger, createRandom(options.seed + 2));
  await sleep(CALM_MS.most);

  const faults = FAULTS.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
  const endsAt = performance.now() + options.seconds * 1000;
  for (let queue: Fault[] = []; performance.now() < endsAt; ) {
    if (queue.length === 0) queue = random.shuffle(faults);
    const fault = queue.shift() as Fault;
    const tally = ledger.enter(fault.name);
    const beganAt = performance.now();
    await fault.inject({ installation, postgres, random });
    const lastedSeconds = (performance.now() - beganAt) / 1000;
    const { seconds, lastFailure } = await recover(installation, fixtures);
    // Or PostgreSQL has no connection left in the end.
    for (const { proxy } of installation.nodes) proxy.closeCut();
    tally.rounds++;
    tally.worstRecoverySeconds = Math.max(tally.worstRecoverySeconds, seconds);
    if (seconds > fault.recoverySeconds) {
      ledger.violate('failed', `recovered after ${seconds.toFixed(1)} s; before, ${lastFailure}`);
    }
    await checks.some();
    say(`${fault.name}: ${lastedSeconds.toFixed(1)} s, recovered after ${seconds.toFixed(1)} s`);
    await sleep(random.between(CALM_MS.least, CALM_MS.most));
  }
  isOver = true;
  await load;
  ledger.enter(NO_FAULT);
  await recover(installation, fixtures);
  await checks.all();

  function startLoad(): Promise<unknown> {
    const deps = { installation, ledger, fixtures, isOver: () => isOver };
    const plays = ACTORS.map((act, index) => act({ ...deps, random: createRandom(options.seed + 10 + index) } as Play));
    const world = { installation, admin, random: createRandom(options.seed + 3) };
    const changes = runChanges({ world, ledger, lanes: LANES, disturbs: false, goesOn: () => !isOver });
    const fail = (error: Error) => ledger.violate('failed', String(error.stack));
    return Promise.all([...plays, changes].map((one) => (one as Promise<unknown>).catch(fail)));
  }
}

interface Recovery {
  readonly seconds: number;
  /** what the last node answered before: token, ready, token, ready */
  readonly lastFailure: string;
}

/** Until both workers of every node issue tokens, and call themselves ready. */
async function recover(installation: Installation, fixtures: Fixtures): Promise<Recovery> {
  const startedAt = performance.now();
  const form = { grant_type: 'client_credentials', resource: fixtures.apis.jwt };
  const token = { path: '/oauth2/token', client: fixtures.service, form };
  const ready = { path: '/health/ready' };
  let lastFailure = '';
  await Promise.all(
    installation.nodes.map(async (node) => {
      while (performance.now() - startedAt < GIVE_UP_AFTER_MS) {
        const answers = await Promise.all(
          [token, ready, token, ready].map((ask) => node.ask({ ...ask, isNewConnection: true, patienceMs: PROBE_MS })),
        );
        if (answers.every(({ status }) => status === 200)) return;
        lastFailure = `${node.name}: ${answers.map(({ status }) => status).join(', ')}`;
        await sleep(PAUSE_MS);
      }
    }),
  );
  return { seconds: (performance.now() - startedAt) / 1000, lastFailure };
}
