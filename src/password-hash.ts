// argon2id for everything a person chose: user passwords and imported client secrets. One run costs about 25 ms of one
// core and 19 MiB, so runs go through a bounded pool; beyond its queue the caller is told to come back (503), never kept. A run
// holds a thread of libuv, of which main.ts asks for one more than can run at once: signatures and files need one too.

import { availableParallelism } from 'node:os';
import argon2 from 'argon2';
import pLimit from 'p-limit';
import { AppError } from './errors.ts';
import type { PasswordLoad } from './metrics/internals.ts';

/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. */
const PARAMETERS = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** Of 32 random bytes that were never written down: no password fits, and to find that out takes as long as for any other hash. */
export const HASH_OF_NOBODY =
  '$argon2id$v=19$m=19456,p=1,t=2$xdV5KmcJBCETReZmXQdIVQ$hE9DHksTyP+H+VK79ZPSRzj596+h47o2QnWEBlLeh6E';

/** What waits beyond this waits longer than a client does: 200 runs on two cores are two and a half seconds. */
const MAX_WAITING = 200;

export interface PasswordHasher {
  /** @returns a PHC string, `$argon2id$…`. @throws AppError `overloaded` */
  hash(password: string): Promise<string>;
  /** @throws AppError `overloaded` */
  verify(phcHash: string, password: string): Promise<boolean>;
}

export interface BoundedPasswordHasher extends PasswordHasher {
  load(): PasswordLoad;
}

/** As many as there are cores, shared by the processes of an installation. @param processes on this machine */
export function runsAtOnce(processes: number): number {
  return Math.ceil(availableParallelism() / processes);
}

export function createPasswordHasher(
  options: { concurrency?: number; maxWaiting?: number } = {},
): BoundedPasswordHasher {
  const limit = pLimit(options.concurrency ?? 1);
  const maxWaiting = options.maxWaiting ?? MAX_WAITING;

  function run<T>(work: () => Promise<T>): Promise<T> {
    if (limit.pendingCount >= maxWaiting) {
      throw new AppError('overloaded', 'too many passwords are being checked at once', { retryAfterSeconds: 2 });
    }
    return limit(work);
  }

  return {
    hash: async (password) => run(() => argon2.hash(password, PARAMETERS)),
    verify: async (phcHash, password) => run(() => argon2.verify(phcHash, password)),
    load: () => ({ running: limit.activeCount, waiting: limit.pendingCount }),
  };
}
