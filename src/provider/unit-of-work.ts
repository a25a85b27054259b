// One unit per token request. What the engine writes while it answers POST /oauth2/token (a code consumed, an access token, a
// refresh token, the audit events) is gathered here and committed together before the answer leaves: a crash in between leaves
// either everything or nothing, and no connection is held while the engine works. An answer that is an error issued nothing, so
// what was gathered for it is dropped.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { HotStore, Write } from './hot-store.ts';

export interface UnitOfWork {
  /** Stores it with the other writes of this request, or at once when there is no unit of work around it. */
  write(write: Write): Promise<void>;
  /**
   * Runs `work` and commits what it wrote, unless `isRefused` says that it ended in an error.
   * @throws AlreadyConsumedError when another request was faster; nothing was written then
   */
  run(work: () => Promise<void>, isRefused: () => boolean): Promise<void>;
}

export function createUnitOfWork({ commit }: Pick<HotStore, 'commit'>): UnitOfWork {
  const gathered = new AsyncLocalStorage<Write[]>();
  return {
    async write(write) {
      const writes = gathered.getStore();
      if (writes === undefined) await commit([write]);
      else writes.push(write);
    },
    async run(work, isRefused) {
      const writes: Write[] = [];
      await gathered.run(writes, work);
      if (!isRefused() && writes.length > 0) await commit(writes);
    },
  };
}
