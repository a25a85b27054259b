// What requests write, and how the writes of many become the parameters of one statement.

import { type AuditEvent, auditValues } from '../audit/audit.ts';
import { type ArrayElement, arrayLiteral } from '../database/array-literal.ts';
import type { Artifact } from './artifacts.ts';

export type Write =
  | { readonly kind: 'upsert'; readonly artifact: Artifact }
  | { readonly kind: 'consume'; readonly model: string; readonly id: Buffer }
  | { readonly kind: 'audit'; readonly event: AuditEvent };

/** The engine makes a new id for each of them, and saves it once. */
const SAVED_ONCE = new Set(['AccessToken', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode']);

/** The parameters of COMMIT_CONSUMING; COMMIT takes the first two groups. */
export function toColumns(units: readonly (readonly Write[])[]) {
  const artifacts: ArrayElement[][] = [];
  const events: ArrayElement[][] = [];
  const consumes: ArrayElement[][] = [];
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
    hasArtifacts: artifacts.length > 0,
    /** none of them can be there already */
    areNew,
    artifacts: transposed(artifacts, 11),
    events: transposed(events, 7),
    consumes: transposed(consumes, 3),
  };
}

function transposed(rows: readonly ArrayElement[][], columnCount: number): string[] {
  return Array.from({ length: columnCount }, (_, column) =>
    arrayLiteral(rows.map((row) => row[column] as ArrayElement)),
  );
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

function artifactValues(artifact: Artifact): ArrayElement[] {
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
