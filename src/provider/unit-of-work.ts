// One transaction per token request. What the engine writes while it answers POST /oauth2/token (a code consumed, an access
// token, a refresh token, the audit events) is gathered here and committed together before the answer leaves: a crash in
// between leaves either everything or nothing, and no connection is held while the engine works. An answer that is an error
// issued nothing, so what was gathered for it is dropped.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database, Query } from '../database/database.ts';

export type Write = (query: Query) => Promise<void>;

/** Somebody else consumed the same artifact first. */
export class AlreadyConsumedError extends Error {
  readonly model: string;
  readonly artifactId: Buffer;

  constructor(model: string, artifactId: Buffer) {
    super(`${model} was consumed by another request`);
    this.name = 'AlreadyConsumedError';
    this.model = model;
    this.artifactId = artifactId;
  }
}

export interface UnitOfWork {
  /** Runs the write with the others of this request, or at once when there is no unit of work around it. */
  write(write: Write): Promise<void>;
  /**
   * Runs `work` and commits what it wrote, unless `isRefused` says that it ended in an error.
   * @throws AlreadyConsumedError when a compare-and-set inside was lost; nothing was written then
   */
  run(work: () => Promise<void>, isRefused: () => boolean): Promise<void>;
}

export function createUnitOfWork(database: Database): UnitOfWork {
  const gathered = new AsyncLocalStorage<Write[]>();
  return {
    async write(write) {
      const writes = gathered.getStore();
      if (writes === undefined) await write(database.query);
      else writes.push(write);
    },
    async run(work, isRefused) {
      const writes: Write[] = [];
      await gathered.run(writes, work);
      if (isRefused() || writes.length === 0) return;
      await database.transaction(async (query) => {
        for (const write of writes) await write(query);
      });
    },
  };
}
