// How current the memory of this process is. Each transaction that changes what decisions are made
// from (clients, secrets, resource servers, policy rows, users, signing keys) adds lines to a log,
// under a revision whose order is the order of the commits (migration 0020).
//
// A request asks `current()` after it has arrived and before it is judged: PostgreSQL says the newest
// revision, and what has changed since the last one that this process knows is dropped from memory.
// A change that was acknowledged before the request came is therefore in force for it, on every node.
// What is committed later is concurrent with the request. No clock, lease or notification is relied on.

import { type Batcher, createBatcher } from './batcher.ts';
import { oneRow } from './one-row.ts';

/** A row has changed; `key` undefined: any row may have. What it returns is waited for. */
export type ChangeListener = (key: string | undefined) => void | Promise<void>;

export interface ChangeLog {
  /**
   * Resolves when everything that was committed before the call counts in this process.
   * @returns when that was, by the clock of the database, in seconds since 1970
   * @throws AppError `database_unavailable`, `overloaded`
   */
  current(): Promise<number>;
  /** The clock of the database, in seconds since 1970, as this process knows it since the last `current()`. */
  now(): number;
  /** Calls `listener` at every change of a topic, and whenever this process cannot tell what has changed. */
  subscribe(topic: string, listener: ChangeListener): void;
}

/** As the database's, which this file is a part of. */
type Query = <Row>(
  statement: { readonly name: string; readonly text: string },
  values: readonly unknown[],
) => Promise<{ readonly rows: readonly Row[] }>;

/** The value is another one at each revision, and at the same revision of another history. */
interface Position {
  readonly revision: string;
  readonly value: string;
}

const READ_POSITION = {
  name: 'change_position',
  text: `SELECT revision, value, date_part('epoch', clock_timestamp()) AS now FROM change_revision`,
};

/** More than that is not worth reading: everything is dropped from memory then. */
const MOST_LINES = 10_000;
/** The known position included, which shows that this is the history that it belongs to. */
const READ_LINES = {
  name: 'change_lines',
  text: `SELECT revision, value, topic, key FROM change_log WHERE revision >= $1 ORDER BY revision LIMIT ${MOST_LINES}`,
};

interface Line extends Position {
  readonly topic: string;
  readonly key: string;
}

/** In the place of a key: all of them. */
const EVERY_KEY = '*';

export interface ChangeLogDeps {
  readonly query: Query;
  readonly queueSize: number;
}

export function createChangeLog({ query, queueSize }: ChangeLogDeps): ChangeLog {
  const listeners = new Map<string, ChangeListener[]>();
  let known: Position | undefined;
  /** by how many seconds the clock of the database is ahead of performance.now(), which nobody sets */
  let aheadSeconds = Date.now() / 1000 - performance.now() / 1000;

  async function catchUp(): Promise<number> {
    const { rows } = await query<Position & { readonly now: number }>(READ_POSITION, []);
    const { now, ...newest } = oneRow({ rows });
    aheadSeconds = now - performance.now() / 1000;
    if (newest.value !== known?.value) await follow(newest);
    return now;
  }

  async function follow(newest: Position): Promise<void> {
    const lines = known === undefined ? undefined : await readSince(query, known);
    // Known only when all that listen have followed: the next call tries again.
    await Promise.all(lines === undefined ? dropAll(listeners) : lines.flatMap((line) => drop(listeners, line)));
    known = lines?.at(-1) ?? newest;
  }

  // One at a time, and in order. Who comes while it runs needs the next one.
  const ask: Batcher<undefined, number> = createBatcher({
    maxRunning: 1,
    maxBatch: Number.POSITIVE_INFINITY,
    maxWaiting: 10 * queueSize,
    async run(callers) {
      const now = await catchUp();
      return callers.map(() => now);
    },
  });
  return {
    current: () => ask(undefined),
    now: () => performance.now() / 1000 + aheadSeconds,
    subscribe(topic, listener) {
      listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
    },
  };
}

/** @returns undefined when the log does not lead on from there: it was pruned, is too long, or another one */
async function readSince(query: Query, known: Position): Promise<Line[] | undefined> {
  const { rows } = await query<Line>(READ_LINES, [known.revision]);
  const isSameHistory = rows.some(({ revision, value }) => revision === known.revision && value === known.value);
  const newer = rows.filter(({ revision }) => revision !== known.revision);
  return isSameHistory && newer.length > 0 && rows.length < MOST_LINES ? newer : undefined;
}

function drop(listeners: ReadonlyMap<string, readonly ChangeListener[]>, { topic, key }: Line) {
  return (listeners.get(topic) ?? []).map((listener) => listener(key === EVERY_KEY ? undefined : key));
}

function dropAll(listeners: ReadonlyMap<string, readonly ChangeListener[]>) {
  return [...listeners.values()].flat().map((listener) => listener(undefined));
}
