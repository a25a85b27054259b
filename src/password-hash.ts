// argon2id for everything that a person chose: user passwords and imported client secrets. One run costs about 25 ms of one core and
// 19 MiB, so a bounded number runs at once, and a caller beyond the bounded queue gets 503. Users and clients have a queue each: what
// strangers present as secrets of clients keeps no user from signing in. A run holds a thread of libuv, of which main.ts asks for two
// more than can run at once: signatures and files need one too, and a disk that hangs holds the log's.

import { availableParallelism } from 'node:os';
import argon2 from 'argon2';
import pLimit from 'p-limit';
import { AppError } from './errors.ts';
import type { PasswordLoad } from './metrics/internals.ts';

/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. */
const PARAMETERS = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** Of 32 random bytes that were not kept: no password matches, and finding that out takes as long as for any other hash. */
export const HASH_OF_UNKNOWN_USER =
  '$argon2id$v=19$m=19456,p=1,t=2$xdV5KmcJBCETReZmXQdIVQ$hE9DHksTyP+H+VK79ZPSRzj596+h47o2QnWEBlLeh6E';

/** A longer queue takes longer than clients wait: 200 runs on two cores are two and a half seconds. */
const MAX_WAITING = 200;

export interface PasswordHasher {
  /** @returns a PHC string, `$argon2id$…`. @throws AppError `overloaded` */
  hash(password: string): Promise<string>;
  /** @throws AppError `overloaded` */
  verify(phcHash: string, password: string): Promise<boolean>;
}

export interface BoundedPasswordHasher extends PasswordHasher {
  /** For what would be done before it in vain. @throws AppError `overloaded`, as `verify` would now */
  assertRoom(): void;
  load(): PasswordLoad;
}

export interface RunsAtOnce {
  readonly users: number;
  readonly clients: number;
}

/**
 * How many hashes a process computes at once. Beside those of clients, users have two thirds of the cores, or half of a single one.
 * @param processes of this installation on this machine, which share its cores
 */
export function runsAtOnce(processes: number): RunsAtOnce {
  const users = Math.ceil(availableParallelism() / processes);
  return { users, clients: Math.ceil(users / 2) };
}

/** @returns how many threads libuv needs for them, and for what else it does */
export function threadsFor({ users, clients }: RunsAtOnce): number {
  return users + clients + 2;
}

export function createPasswordHasher(
  options: { concurrency?: number; maxWaiting?: number } = {},
): BoundedPasswordHasher {
  const limit = pLimit(options.concurrency ?? 1);
  const maxWaiting = options.maxWaiting ?? MAX_WAITING;

  function assertRoom(): void {
    if (limit.pendingCount >= maxWaiting) {
      throw new AppError('overloaded', 'too many passwords are being checked at once', { retryAfterSeconds: 2 });
    }
  }

  function run<T>(work: () => Promise<T>): Promise<T> {
    assertRoom();
    return limit(work);
  }

  return {
    assertRoom,
    hash: async (password) => run(() => argon2.hash(password, PARAMETERS)),
    verify: async (phcHash, password) => run(() => argon2.verify(phcHash, password)),
    load: () => ({ running: limit.activeCount, waiting: limit.pendingCount }),
  };
}
