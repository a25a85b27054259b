// Stores the units of many requests with one statement.

import type { Database, Query } from '../../database/database.ts';
import { sqlStateOf } from '../../database/sql-state.ts';
import {
  ARTIFACT_ROWS,
  COMMIT,
  COMMIT_EVENTS,
  COMMIT_REUSING,
  CONSUMED_ROWS,
  type CommitStatements,
  commitConsumingStatements,
  EVENT_ROWS,
  modelOf,
  ONLY_EVENT_ROWS,
  REUSED_ROWS,
} from './artifact-statements.ts';
import { type Consume, type FinishedReuse, type FinishedUnit, finishUnit, place, type Write } from './writes.ts';

type Deps = Pick<Database, 'batchQuery'>;

/** PostgreSQL, appendix A */
const UNIQUE_VIOLATION = '23505';

/** Stores units that consume nothing. */
export async function commitUnits(deps: Deps, units: readonly FinishedUnit[]): Promise<undefined[]> {
  const artifacts = place(units, (unit) => unit.artifacts);
  const events = place(units, (unit) => unit.events);
  // JWTs have no rows, only events.
  if (artifacts.rows.length === 0) {
    await deps.batchQuery(COMMIT_EVENTS, ONLY_EVENT_ROWS.encode(events.rows, events.positions));
  } else {
    await store(deps, COMMIT, units, [
      ...ARTIFACT_ROWS.encode(artifacts.rows, artifacts.positions),
      ...EVENT_ROWS.encode(events.rows, events.positions),
    ]);
  }
  return units.map(() => undefined);
}

/** Stores a unit that consumes nothing, in the transaction of its request. */
export async function commitWithin(query: Query, unit: readonly Write[]): Promise<void> {
  const { artifacts, events, consumes } = finishUnit(unit);
  if (consumes !== undefined) throw new Error('what may happen once is decided by a statement of its own');
  if (artifacts.length === 0) {
    await query(COMMIT_EVENTS, ONLY_EVENT_ROWS.encode(events, events.map(FIRST)));
  } else {
    const values = [
      ...ARTIFACT_ROWS.encode(artifacts, artifacts.map(FIRST)),
      ...EVENT_ROWS.encode(events, events.map(FIRST)),
    ];
    // A statement that failed would end the transaction: the one that cannot meet a row comes first.
    await query(COMMIT.replacing, values);
  }
}

const FIRST = () => 0;

/** @returns for each unit what another request had consumed before, if that was so */
export async function commitConsumingUnits(
  deps: Deps,
  units: readonly FinishedUnit[],
): Promise<(Consume | undefined)[]> {
  const artifacts = place(units, (unit) => unit.artifacts);
  const events = place(units, (unit) => unit.events);
  const consumes = place(units, (unit) => (unit.consumes === undefined ? [] : [unit.consumes.row]));
  const { rows } = await store<{ unit: number }>(deps, commitConsumingStatements(consumes.rows.map(modelOf)), units, [
    ...ARTIFACT_ROWS.encode(artifacts.rows, artifacts.positions),
    ...EVENT_ROWS.encode(events.rows, events.positions),
    ...CONSUMED_ROWS.encode(consumes.rows, consumes.positions),
  ]);
  const lost = new Set(rows.map(({ unit }) => unit));
  return units.map((unit, position) => (lost.has(position) ? unit.consumes?.write : undefined));
}

export type ReuseOutcome = 'stored' | 'used too often' | 'too late';

/** Stores units that use a refresh token again, one after the other. */
export async function commitReusingUnits(deps: Deps, units: readonly FinishedReuse[]): Promise<ReuseOutcome[]> {
  const outcomes: ReuseOutcome[] = [];
  for (const { artifacts, events, reused } of units) {
    const { rows } = await deps.batchQuery<{ is_stored: boolean; is_within_grace: boolean }>(COMMIT_REUSING, [
      ...ARTIFACT_ROWS.encode(artifacts, artifacts.map(FIRST)),
      ...EVENT_ROWS.encode(events, events.map(FIRST)),
      ...REUSED_ROWS.encode(reused),
    ]);
    outcomes.push(rows[0]?.is_stored ? 'stored' : rows[0]?.is_within_grace ? 'used too often' : 'too late');
  }
  return outcomes;
}

/** Tries the cheaper statement first where none of the artifacts should be there already. */
async function store<R>(
  { batchQuery }: Deps,
  statements: CommitStatements,
  units: readonly FinishedUnit[],
  values: readonly Buffer[],
) {
  try {
    if (units.every(({ areNew }) => areNew)) return await batchQuery<R>(statements.inserting, values);
  } catch (error) {
    // It was rolled back: nothing of it is stored yet.
    if (sqlStateOf(error) !== UNIQUE_VIOLATION) throw error;
  }
  return batchQuery<R>(statements.replacing, values);
}
