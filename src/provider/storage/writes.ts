// What requests write, and how the writes of many become the rows of one statement.

import { type AuditEvent, auditValues } from '../../audit/audit.ts';
import type { FinishedRow } from '../../database/array-parameters.ts';
import { ARTIFACT_ROWS, CONSUMED_ROWS, EVENT_ROWS, REUSED_ROWS } from './artifact-statements.ts';
import type { Artifact } from './artifacts.ts';

export type Write =
  | { readonly kind: 'upsert'; readonly artifact: Artifact }
  | {
      readonly kind: 'consume';
      readonly model: string;
      readonly id: Buffer;
      /** of a refresh token that may be used again for so long after its first use */
      readonly reuse?: { readonly graceSeconds: number; readonly event: AuditEvent } | undefined;
    }
  | { readonly kind: 'audit'; readonly event: AuditEvent };

export type Consume = Extract<Write, { kind: 'consume' }>;

/** The writes of one request as rows that PostgreSQL accepts. */
export interface FinishedUnit {
  readonly artifacts: readonly FinishedRow[];
  readonly events: readonly FinishedRow[];
  readonly consumes: { readonly write: Consume; readonly row: FinishedRow } | undefined;
  /** none of the artifacts can be there already */
  readonly areNew: boolean;
}

/** The engine makes a new id for each of them, and saves it once. */
export const SAVED_ONCE: ReadonlySet<string> = new Set([
  'AccessToken',
  'ClientCredentials',
  'RefreshToken',
  'AuthorizationCode',
]);

/**
 * Serialises the writes of one request, before they share a statement with those of others.
 * @throws UnstorableValueError, and whatever JSON.stringify throws (cycles, BigInt, too many
 * levels)
 */
export function finishUnit(unit: readonly Write[]): FinishedUnit {
  const artifacts: FinishedRow[] = [];
  const events: FinishedRow[] = [];
  let consumes: FinishedUnit['consumes'];
  let areNew = true;
  for (const write of withoutRepetitions(unit)) {
    if (write.kind === 'consume') {
      if (consumes !== undefined) throw new Error('a unit consumes one artifact at most');
      consumes = { write, row: CONSUMED_ROWS.finish([write.model, write.id]) };
    } else if (write.kind === 'upsert') {
      artifacts.push(finishArtifact(write.artifact));
      areNew &&= SAVED_ONCE.has(write.artifact.model);
    } else events.push(EVENT_ROWS.finish(auditValues(write.event)));
  }
  return { artifacts, events, consumes, areNew };
}

/** @returns the rows of a unit that uses a refresh token again; undefined: it may not */
export function finishReuse({ artifacts, events, consumes }: FinishedUnit) {
  if (consumes?.write.reuse === undefined) return undefined;
  const { model, id, reuse } = consumes.write;
  return {
    artifacts,
    events: [...events, EVENT_ROWS.finish(auditValues(reuse.event))],
    reused: [REUSED_ROWS.finish([model, id, reuse.graceSeconds])],
  };
}

export type FinishedReuse = NonNullable<ReturnType<typeof finishReuse>>;

/** Rows of many units, with the positions of the units that they belong to. */
export interface PlacedRows {
  readonly rows: readonly FinishedRow[];
  readonly positions: readonly number[];
}

/** @param rowsOf which rows of a unit */
export function place(
  units: readonly FinishedUnit[],
  rowsOf: (unit: FinishedUnit) => readonly FinishedRow[],
): PlacedRows {
  const rows: FinishedRow[] = [];
  const positions: number[] = [];
  units.forEach((unit, position) => {
    for (const row of rowsOf(unit)) {
      rows.push(row);
      positions.push(position);
    }
  });
  return { rows, positions };
}

/**
 * Of an artifact that one request saves several times, the last state: one statement can store it
 * only once.
 */
function withoutRepetitions(unit: readonly Write[]): readonly Write[] {
  if (unit.length < 2) return unit;
  return unit.filter(
    (write, position) =>
      write.kind !== 'upsert' ||
      !unit.slice(position + 1).some((later) => later.kind === 'upsert' && isSame(write.artifact, later.artifact)),
  );
}

function isSame(one: Artifact, other: Artifact): boolean {
  return one.model === other.model && one.id.equals(other.id);
}

function finishArtifact(artifact: Artifact): FinishedRow {
  return ARTIFACT_ROWS.finish([
    artifact.model,
    artifact.id,
    JSON.stringify(artifact.payload),
    artifact.clientId ?? null,
    artifact.accountId ?? null,
    artifact.grantId ?? null,
    artifact.uid ?? null,
    artifact.userCode ?? null,
    artifact.issuedAt,
    artifact.expiresAt ?? null,
  ]);
}
