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
  /** Calls back when the writes of this request are committed, which those of a refused one never are. */
  afterwards(callback: () => void): void;
  /**
   * Runs `work` and commits what it wrote, unless `isRefused` says that it ended in an error.
   * @throws AlreadyConsumedError when a compare-and-set inside was lost; nothing was written then
   */
  run(work: () => Promise<void>, isRefused: () => boolean): Promise<void>;
}

export function createUnitOfWork(database: Database): UnitOfWork {
  const gathered = new AsyncLocalStorage<{ writes: Write[]; callbacks: (() => void)[] }>();
  return {
    async write(write) {
      const unit = gathered.getStore();
      if (unit === undefined) await write(database.query);
      else unit.writes.push(write);
    },
    afterwards(callback) {
      const unit = gathered.getStore();
      if (unit === undefined) callback();
      else unit.callbacks.push(callback);
    },
    async run(work, isRefused) {
      const unit = { writes: [] as Write[], callbacks: [] as (() => void)[] };
      await gathered.run(unit, work);
      if (isRefused() || unit.writes.length === 0) return;
      await database.transaction(async (query) => {
        for (const write of unit.writes) await write(query);
      });
      for (const callback of unit.callbacks) callback();
    },
  };
}
