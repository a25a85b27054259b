// One unit per token request. What is written while POST /oauth2/token is answered (a code
// consumed, an access token, a refresh token, the audit events) is collected here and committed
// together before the answer is sent: a crash in between leaves either everything or nothing, and
// no connection is held meanwhile. An answer that is an error issued nothing, so what was collected
// for it is dropped.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { ArtifactStore } from './artifact-store.ts';
import type { Write } from './writes.ts';

export interface UnitOfWork {
  /** Stores it with the other writes of this request; at once outside of a unit of work. */
  write(write: Write): Promise<void>;
  /** Calls back when the writes of this request are committed; never when it is refused. */
  afterwards(callback: () => void): void;
  /** Runs `work` and keeps its writes until the caller commits or drops them. */
  collect<T>(requestId: string, work: () => Promise<T>): Promise<Collected<T>>;
  /** of the request around it */
  requestId(): string | undefined;
}

export interface Collected<T> {
  readonly result: T;
  /** @throws AlreadyConsumedError when another request was faster; nothing was written then */
  commit(): Promise<void>;
}

interface Unit {
  readonly requestId: string;
  readonly writes: Write[];
  readonly callbacks: (() => void)[];
}

const COLLECTED = Promise.resolve();

export function createUnitOfWork({ commit }: Pick<ArtifactStore, 'commit'>): UnitOfWork {
  const current = new AsyncLocalStorage<Unit>();
  return {
    write(write) {
      const unit = current.getStore();
      if (unit === undefined) return commit([write]);
      unit.writes.push(write);
      return COLLECTED;
    },
    afterwards(callback) {
      const unit = current.getStore();
      if (unit === undefined) callback();
      else unit.callbacks.push(callback);
    },
    requestId: () => current.getStore()?.requestId,
    async collect(requestId, work) {
      const unit: Unit = { requestId, writes: [], callbacks: [] };
      const result = await current.run(unit, work);
      return {
        result,
        async commit() {
          if (unit.writes.length === 0) return;
          await commit(unit.writes);
          for (const callback of unit.callbacks) callback();
        },
      };
    },
  };
}
