// Work of one name goes one after the other in this process. What would wait for each other's lock
// in PostgreSQL waits here, where it holds no connection: many requests with one cookie would take
// the connections of all others. A turn that comes too late is refused, so that a lock which makes
// each of them fail does not make the last one wait for all deadlines before it.

import { AppError } from '../../errors.ts';

const MOST_WAITED_MS = 10_000;

/** @throws AppError `overloaded`; nothing of the work was done then */
type InTurn = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export function createTurns(): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return async (name, work) => {
    const since = performance.now();
    const run = () => {
      if (performance.now() - since < MOST_WAITED_MS) return work();
      throw new AppError('overloaded', 'too many requests of this session wait', { retryAfterSeconds: 1 });
    };
    const before = last.get(name) ?? Promise.resolve();
    const mine = before.then(run, run);
    last.set(name, mine);
    try {
      return await mine;
    } finally {
      if (last.get(name) === mine) last.delete(name);
    }
  };
}
