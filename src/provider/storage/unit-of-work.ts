// One unit per request. What is written while POST /oauth2/token, a page or a revocation is answered
// (a code consumed, tokens, the session, a grant removed, the audit events) is collected here and
// committed together before the answer is sent: a crash in between leaves either everything or
// nothing, and no connection is held meanwhile. What is collected for an answer that fails is
// dropped. Nothing that is read in the same request sees it.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { AuditEvent } from '../../audit/audit.ts';
import type { Database, Query } from '../../database/database.ts';
import type { ArtifactStore } from './artifact-store.ts';
import type { Write } from './writes.ts';

/** What is no row of a batch: a unit with steps becomes a transaction. */
export type Step = (query: Query) => Promise<unknown>;

export interface UnitOfWork {
  /** Stores it with the other writes of this request; at once outside of a unit of work. */
  write(write: Write): Promise<void>;
  /** Runs in the transaction of this request, before its rows; at once outside of a unit. */
  step(step: Step): Promise<void>;
  /** The same, before all others. */
  stepFirst(step: Step): Promise<void>;
  /**
   * The same for listeners, for which nobody waits.
   * @throws Error outside of a unit of work, where a failure would be lost
   */
  join(step: Step): void;
  /** Stores the event with what it tells of. @throws Error outside of a unit of work, like `join` */
  record(event: AuditEvent): void;
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
  readonly steps: Step[];
  readonly callbacks: (() => void)[];
}

export interface UnitOfWorkDeps {
  readonly artifactStore: Pick<ArtifactStore, 'commit' | 'commitWith'>;
  readonly database: Pick<Database, 'query' | 'transaction'>;
}

const COLLECTED = Promise.resolve();

export function createUnitOfWork({ artifactStore, database }: UnitOfWorkDeps): UnitOfWork {
  const current = new AsyncLocalStorage<Unit>();

  const runner = (put: 'push' | 'unshift') => async (step: Step) => {
    const unit = current.getStore();
    if (unit === undefined) await step(database.query);
    else unit.steps[put](step);
  };

  function unitAround(): Unit {
    const unit = current.getStore();
    if (unit === undefined) throw new Error('a listener wrote outside of a unit of work');
    return unit;
  }

  async function commit({ writes, steps, callbacks }: Unit): Promise<void> {
    if (steps.length === 0 && writes.length > 0) await artifactStore.commit(writes);
    if (steps.length > 0) {
      await database.transaction(async (query) => {
        for (const step of steps) await step(query);
        await artifactStore.commitWith(query, writes);
      });
    }
    for (const callback of callbacks) callback();
  }

  return {
    write(write) {
      const unit = current.getStore();
      if (unit === undefined) return artifactStore.commit([write]);
      unit.writes.push(write);
      return COLLECTED;
    },
    step: runner('push'),
    stepFirst: runner('unshift'),
    join: (step) => void unitAround().steps.push(step),
    record(event) {
      const { writes, requestId } = unitAround();
      writes.push({ kind: 'audit', event: { requestId, ...event } });
    },
    afterwards(callback) {
      const unit = current.getStore();
      if (unit === undefined) callback();
      else unit.callbacks.push(callback);
    },
    requestId: () => current.getStore()?.requestId,
    async collect(requestId, work) {
      const unit: Unit = { requestId, writes: [], steps: [], callbacks: [] };
      const result = await current.run(unit, work);
      return { result, commit: () => commit(unit) };
    },
  };
}
