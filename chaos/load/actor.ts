// What every actor has, and how it goes on until the run is over.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Installation, reachable } from '../installation.ts';
import type { Ledger } from '../ledger.ts';
import type { Node } from '../node.ts';
import type { Random } from '../random.ts';
import type { Answer } from '../sender.ts';
import type { Fixtures } from './fixtures.ts';

export interface Play {
  readonly installation: Installation;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly fixtures: Fixtures;
  readonly isOver: () => boolean;
}

/** Any node, also one that a fault has stopped. */
export const anyNode = ({ installation, random }: Play): Node => {
  const up = installation.nodes.filter((node) => node.isUp());
  return random.pick(up.length === 0 ? installation.nodes : up);
};
export const reachableNode = ({ installation, random }: Play): Node => random.pick(reachable(installation));

/** Neither done nor refused: 503, or no answer. */
export const isUndecided = ({ status }: Answer) => status === 0 || status === 503;
/** The answer says that nothing was done. */
export const mayBeSentAgain = ({ status, retryAfter }: Answer) => status === 503 && retryAfter !== null;

/** @param restMs at most, between two times */
export async function againAndAgain(play: Play, restMs: number, act: () => Promise<void>): Promise<void> {
  while (!play.isOver()) {
    await act();
    await sleep(play.random.between(0, restMs));
  }
}
