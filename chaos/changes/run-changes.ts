// Makes one change after the other, several at a time, and asks every node for what was taken away as
// soon as the change is acknowledged: nothing may be granted. Meanwhile the listeners of the nodes lose
// their connections, and nodes are stopped, so that requests wait in their listen queues until they go
// on.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Installation, reachable } from '../installation.ts';
import type { Ledger } from '../ledger.ts';
import type { Node } from '../node.ts';
import { CHANGES, type Change, removalOfKey } from './changes.ts';
import { createScene, renewToken, type Scene, signIn, type World } from './scene.ts';

/** How often all other changes are made before a key is removed, which ends the JWTs of all scenes. */
const TIMES_PER_KEY = 2;
/** On each node, so that each of its workers gets some. */
const REQUESTS_PER_PROBE = 2;
const SHARE_OF_PAUSES = 0.12;
/** A node that is stopped may hold a lock that the change waits for; it goes on then. */
const LONGEST_PAUSE_MS = 2_000;
const LISTENERS_LIVE_MS = 150;
const PAUSE_MS = 50;
const GRANTED_WITHIN_MS = 90_000;

export interface ChangeCounts {
  readonly byName: Map<string, number>;
  changes: number;
  /** sent after an acknowledgement */
  requests: number;
  /** of these, to a node that was stopped when they were sent */
  toPausedNodes: number;
  refused: number;
  granted: number;
  listenersKilled: number;
}

export interface ChangesOptions {
  readonly world: World;
  readonly ledger: Ledger;
  /** how many changes are made at a time */
  readonly lanes: number;
  /** Asked before each change. */
  readonly goesOn: (counts: ChangeCounts) => boolean;
  /** Stop nodes and kill listeners; false where that is somebody else's part. */
  readonly disturbs: boolean;
}

export async function runChanges(options: ChangesOptions): Promise<ChangeCounts> {
  const { world, goesOn } = options;
  const counts: ChangeCounts = {
    byName: new Map(),
    changes: 0,
    requests: 0,
    toPausedNodes: 0,
    refused: 0,
    granted: 0,
    listenersKilled: 0,
  };
  const scenes = await Promise.all(Array.from({ length: options.lanes }, () => createScene(world)));
  let isOver = false;
  const killing = options.disturbs ? killListeners(world.installation, counts, () => isOver) : undefined;
  try {
    while (goesOn(counts)) {
      const queue = Array.from({ length: TIMES_PER_KEY }, () => world.random.shuffle(CHANGES)).flat();
      await Promise.all(scenes.map((scene) => makeAll(options, counts, queue, scene)));
      await removeKey(options, counts, scenes);
    }
  } finally {
    isOver = true;
    await killing;
  }
  return counts;
}

async function makeAll(options: ChangesOptions, counts: ChangeCounts, queue: Change[], scene: Scene): Promise<void> {
  for (let change = queue.pop(); change !== undefined && options.goesOn(counts); change = queue.pop()) {
    await makeChange(options, counts, change, scene);
  }
}

async function removeKey(options: ChangesOptions, counts: ChangeCounts, scenes: readonly Scene[]): Promise<void> {
  const { world, ledger } = options;
  const [signed, ...others] = scenes.filter(({ format }) => format === 'jwt');
  if (signed === undefined) return;
  await makeChange(options, counts, removalOfKey(signed, ledger.setKey), signed);
  for (const scene of [signed, ...others]) {
    scene.userTokens = undefined;
    await renewToken(world, scene);
  }
}

async function makeChange(options: ChangesOptions, counts: ChangeCounts, change: Change, scene: Scene): Promise<void> {
  const { world, disturbs } = options;
  const { nodes } = world.installation;
  if (change.isOfUser === true && scene.userTokens === undefined) await signIn(world, scene);
  await Promise.all(nodes.map((node) => expectGranted(options, change, scene, node)));

  const pause = disturbs && world.random.isOne(SHARE_OF_PAUSES) ? await pauseOne(world) : undefined;
  await change.apply(world, scene);
  counts.changes++;
  counts.byName.set(change.name, (counts.byName.get(change.name) ?? 0) + 1);
  const answers = nodes.map((node) => askAll(options, counts, change, scene, node));
  if (pause !== undefined) {
    // When the others have answered, what was sent to this one is in its queue.
    await Promise.all(answers.filter((_, index) => nodes[index] !== pause.node));
    pause.end();
  }
  await Promise.all(answers);
  await change.undo(world, scene);
}

/** Before the change the scene has what the change takes away, and every node has just used it. */
async function expectGranted({ ledger }: ChangesOptions, change: Change, scene: Scene, node: Node): Promise<void> {
  for (const [index, probe] of change.probes.entries()) {
    for (const deadline = performance.now() + GRANTED_WITHIN_MS; ; await sleep(PAUSE_MS)) {
      const outcome = await probe(node, scene, false);
      if (outcome === 'granted') break;
      const what = `question ${index + 1} about ${change.name}, before the change, at ${node.name}`;
      if (outcome === 'refused') ledger.violate('lost', `${what}: refused`);
      else if (performance.now() > deadline) ledger.violate('failed', `${what}: not answered`);
      else continue;
      break;
    }
  }
}

/** To both workers, and on new connections too. */
async function askAll(
  { ledger }: ChangesOptions,
  counts: ChangeCounts,
  change: Change,
  scene: Scene,
  node: Node,
): Promise<void> {
  const asked = change.probes.flatMap((probe, index) =>
    [true, false].flatMap((isNewConnection) =>
      Array.from({ length: REQUESTS_PER_PROBE }, async () => {
        counts.requests++;
        const wasPaused = node.isPaused();
        if (wasPaused) counts.toPausedNodes++;
        const outcome = await probe(node, scene, isNewConnection);
        if (outcome === 'refused') counts.refused++;
        if (outcome !== 'granted') return;
        counts.granted++;
        const state = wasPaused ? ', which was stopped when it was sent' : '';
        ledger.violate('granted', `question ${index + 1} about ${change.name}, at ${node.name}${state}`);
      }),
    ),
  );
  await Promise.all(asked);
}

/** One at a time, so that the change has a node to go to. */
async function pauseOne({ installation, random }: World): Promise<{ node: Node; end: () => void } | undefined> {
  if (installation.nodes.some((node) => node.isPaused())) return undefined;
  const node = random.pick(reachable(installation));
  await node.pause();
  const timer = setTimeout(node.resume, LONGEST_PAUSE_MS);
  return {
    node,
    end() {
      clearTimeout(timer);
      node.resume();
    },
  };
}

async function killListeners(installation: Installation, counts: ChangeCounts, isOver: () => boolean): Promise<void> {
  await installation.withDatabase(async (sql) => {
    while (!isOver()) {
      const { rowCount } = await sql.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lanyard-changes' AND datname = current_database()",
      );
      counts.listenersKilled += rowCount ?? 0;
      await sleep(LISTENERS_LIVE_MS);
    }
  });
}
