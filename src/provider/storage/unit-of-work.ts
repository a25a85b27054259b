// One unit per request. What is written while POST /oauth2/token, a page or a revocation is answered
// (a code consumed, tokens, the session, a grant removed, the audit events) is collected here and
// committed together before the answer is sent: a crash in between leaves either everything or
// nothing, and no connection is held meanwhile. What is collected for an answer that fails is
// dropped. Nothing that is read in the same request sees it.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { AuditEvent } from '../../audit/audit.ts';
import type { Database, Query } from '../../database/database.ts';
import type { ArtifactStore } from './artifact-store.ts';
import { commitWithin } from './commit-units.ts';
import { createTurns } from './turns.ts';
import type { Write } from './writes.ts';

/** What has to read before it writes. */
export type Step = (query: Query) => Promise<unknown>;

export interface UnitOfWork {
  /** Stores it with the other writes of this request; at once outside of a unit of work. */
  write(write: Write): Promise<void>;
  /**
   * Runs in the transaction that commits this request; outside of a unit of work at once, in a
   * transaction of its own.
   */
  step(step: Step): Promise<void>;
  /**
   * The same, before all steps so far: whatever changes a session takes its rows first, so that two
   * of them cannot deadlock.
   * @param turn of units that name the same, one is committed at a time
   */
  stepFirst(step: Step, turn?: string): Promise<void>;
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
  /**
   * @returns whether it used a refresh token again, within its grace
   * @throws AlreadyConsumedError when another request was faster; nothing was written then
   */
  commit(): Promise<boolean>;
  /** The same in a transaction of the caller. */
  commitIn(query: Query): Promise<void>;
}

interface Unit {
  readonly requestId: string;
  readonly writes: Write[];
  readonly steps: Step[];
  readonly callbacks: (() => void)[];
  turn?: string | undefined;
}

const COLLECTED = Promise.resolve();

async function storeIn(query: Query, { writes, steps }: Unit): Promise<void> {
  for (const step of steps) await step(query);
  if (writes.length > 0) await commitWithin(query, writes);
}

type Deps = Pick<ArtifactStore, 'commit'> & Pick<Database, 'transaction'>;

/** Without steps the writes share a statement with those of other requests. */
function createStore({ commit, transaction }: Deps): (unit: Unit) => Promise<boolean> {
  const inTurn = createTurns();
  return async (unit) => {
    if (unit.steps.length === 0) return unit.writes.length > 0 && commit(unit.writes);
    const run = () => transaction((query) => storeIn(query, unit));
    await (unit.turn === undefined ? run() : inTurn(unit.turn, run));
    return false;
  };
}

export function createUnitOfWork(
  { commit }: Pick<ArtifactStore, 'commit'>,
  { transaction }: Pick<Database, 'transaction'>,
): UnitOfWork {
  const current = new AsyncLocalStorage<Unit>();
  const store = createStore({ commit, transaction });

  async function add(step: Step, put: 'push' | 'unshift'): Promise<void> {
    const unit = current.getStore();
    if (unit === undefined) await transaction(async (query) => void (await step(query)));
    else unit.steps[put](step);
  }

  function unitAround(): Unit {
    const unit = current.getStore();
    if (unit === undefined) throw new Error('a listener wrote outside of a unit of work');
    return unit;
  }

  return {
    write(write) {
      const unit = current.getStore();
      if (unit === undefined) return commit([write]).then(() => {});
      unit.writes.push(write);
      return COLLECTED;
    },
    step: (step) => add(step, 'push'),
    stepFirst(step, turn) {
      const unit = current.getStore();
      if (unit !== undefined && turn !== undefined) unit.turn = turn;
      return add(step, 'unshift');
    },
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
      return {
        result,
        async commit() {
          const isReuse = await store(unit);
          for (const callback of unit.callbacks) callback();
          return isReuse;
        },
        commitIn: (query) => storeIn(query, unit),
      };
    },
  };
}
