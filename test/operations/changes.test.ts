// Three nodes with two workers each: what an operator takes away is gone on all of them when the answer
// is there. Requests are sent to every node at that moment, also to one that is stopped, and whose
// kernel keeps them until it goes on. `npm run chaos -- --changes 10000` does the same for longer.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createAdmin } from '../../chaos/admin.ts';
import { CHANGES } from '../../chaos/changes/changes.ts';
import { runChanges } from '../../chaos/changes/run-changes.ts';
import type { World } from '../../chaos/changes/scene.ts';
import { type Installation, startInstallation } from '../../chaos/installation.ts';
import { createLedger } from '../../chaos/ledger.ts';
import { createRandom } from '../../chaos/random.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { makeHome, removeHome, stopAll } from '../support/process.ts';

const MANY = 300;
const SEED = 20;

const ledger = createLedger();
let database: TestDatabase;
let folder: string;
let installation: Installation;

beforeAll(async () => {
  database = await createTestDatabase();
  folder = await makeHome();
  installation = await startInstallation({ connectionString: database.connectionString, folder, ledger });
});
afterAll(async () => {
  await installation?.stop();
  await stopAll();
  await removeHome(folder);
  await database.drop();
});

function newWorld(seed: number): World {
  const random = createRandom(seed);
  return { installation, random, admin: createAdmin(installation, ledger, random) };
}

test('after a change is acknowledged no node grants what it takes away, while listeners are killed and nodes are stopped', async () => {
  const counts = await runChanges({
    world: newWorld(SEED),
    ledger,
    lanes: 6,
    goesOn: ({ changes, byName, toPausedNodes }) =>
      changes < MANY || !byName.has('a removed signing key') || toPausedNodes === 0,
    disturbs: true,
  });
  expect(ledger.violations).toEqual([]);
  expect(counts.granted).toBe(0);
  // Of all kinds, and most requests were answered with a refusal rather than with 503.
  expect([...counts.byName.keys()].sort()).toEqual(
    [...CHANGES.map(({ name }) => name), 'a removed signing key'].sort(),
  );
  expect(counts.refused).toBeGreaterThan(0.9 * counts.requests);
  expect(counts.listenersKilled).toBeGreaterThan(0);
  console.log(counts);
});
