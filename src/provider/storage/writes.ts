// What requests write, and how the writes of many become the rows of one statement.

import { type AuditEvent, auditValues } from '../../audit/audit.ts';
import type { ColumnValue } from '../../database/array-parameters.ts';
import type { Artifact } from './artifacts.ts';

export type Write =
  | { readonly kind: 'upsert'; readonly artifact: Artifact }
  | { readonly kind: 'consume'; readonly model: string; readonly id: Buffer }
  | { readonly kind: 'audit'; readonly event: AuditEvent };

/** The engine makes a new id for each of them, and saves it once. */
const SAVED_ONCE = new Set(['AccessToken', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode']);

/** ARTIFACT_ROWS, EVENT_ROWS and CONSUMED_ROWS (hot-statements) of the units. */
export function toRows(units: readonly (readonly Write[])[]) {
  const artifacts: ColumnValue[][] = [];
  const events: ColumnValue[][] = [];
  const consumes: ColumnValue[][] = [];
  let areNew = true;
  units.forEach((unit, position) => {
    for (const write of withoutRepetitions(unit)) {
      if (write.kind === 'consume') consumes.push([position, write.model, write.id]);
      else if (write.kind === 'upsert') {
        artifacts.push([position, ...artifactValues(write.artifact)]);
        areNew &&= SAVED_ONCE.has(write.artifact.model);
      } else events.push([position, ...auditValues(write.event)]);
    }
  });
  return {
    artifacts,
    events,
    consumes,
    /** none of the artifacts can be there already */
    areNew,
  };
}

/** Of an artifact that one request saves several times, the last state: one statement can store it only once. */
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

function artifactValues(artifact: Artifact): ColumnValue[] {
  return [
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
  ];
}
