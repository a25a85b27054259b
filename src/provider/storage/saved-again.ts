// What the engine reads, changes and stores again as a whole: sessions, and what goes forward in
// steps (logins in progress, device codes, grants). Here it is compared with what is stored by
// then, in the transaction of the request, so that no request undoes what another has stored
// meanwhile, and nothing that was removed comes back.

import { createHash } from 'node:crypto';
import { type AdapterPayload, errors } from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import { type Artifact, destroyArtifact } from './artifacts.ts';
import { commitWithin } from './commit-units.ts';
import { forEachTable } from './partitions.ts';
import { type MergedSession, mergeSession, type SessionChange, type SessionRow } from './session-merge.ts';

const SQL = {
  lockSession: { name: 'session_lock', text: 'SELECT pg_advisory_xact_lock($1)' },
  sessionRows: {
    name: 'session_rows',
    text: `SELECT id, payload FROM oidc_artifacts_sessions
           WHERE model = 'Session' AND uid = $1 AND expires_at > now() ORDER BY expires_at DESC`,
  },
  updateSessionRow: {
    name: 'session_row_update',
    text: `UPDATE oidc_artifacts_sessions SET payload = $2 WHERE model = 'Session' AND id = $1`,
  },
  removeSessionRows: {
    name: 'session_rows_remove',
    text: `DELETE FROM oidc_artifacts_sessions WHERE model = 'Session' AND id = ANY ($1)`,
  },
  updateInteraction: {
    name: 'interaction_update',
    text: `UPDATE oidc_artifacts_sessions SET payload = $2 WHERE model = 'Interaction' AND id = $1`,
  },
};

const lockStatement = forEachTable((table) => ({
  name: `artifact_lock_in_${table}`,
  text: `SELECT payload FROM ${table} WHERE model = $1 AND id = $2 FOR UPDATE`,
}));

/**
 * A lock of the uid, for this transaction: a lock of rows would not stop another request from
 * adding one.
 */
async function lockSession(query: Query, uid: string): Promise<void> {
  await query(SQL.lockSession, [createHash('sha256').update(`session ${uid}`).digest().readBigInt64BE()]);
}

async function sessionRows(query: Query, uid: string): Promise<SessionRow[]> {
  return (await query<SessionRow>(SQL.sessionRows, [uid])).rows;
}

/** @param toArtifact the row of one id with its payload */
export async function saveSession(
  query: Query,
  uid: string,
  change: SessionChange,
  toArtifact: (id: Buffer, payload: AdapterPayload) => Artifact,
): Promise<void> {
  await lockSession(query, uid);
  await storeMerged(query, mergeSession(change, await sessionRows(query, uid)), toArtifact);
}

async function storeMerged(
  query: Query,
  { stored, removedIds }: MergedSession,
  toArtifact: (id: Buffer, payload: AdapterPayload) => Artifact,
): Promise<void> {
  const artifacts = stored.map(({ id, payload }) => toArtifact(id, payload));
  // The order in which the admin API takes rows too.
  artifacts.sort((one, other) => one.id.compare(other.id));
  const writes = artifacts.map((artifact) => ({ kind: 'upsert', artifact }) as const);
  if (writes.length > 0) await commitWithin(query, writes);
  if (removedIds.length > 0) await query(SQL.removeSessionRows, [removedIds]);
}

/** What a session says about one app. */
export interface SessionEntry {
  readonly sid: string;
  readonly grantId: string;
}

/** Until the end of the transaction the session does not change. */
export async function lockSessionEntry(
  query: Query,
  uid: string,
  clientId: string,
): Promise<{ readonly [Member in keyof SessionEntry]?: string | undefined } | undefined> {
  await lockSession(query, uid);
  const authorizations = (await sessionRows(query, uid))[0]?.payload.authorizations ?? {};
  return Object.hasOwn(authorizations, clientId) ? authorizations[clientId] : undefined;
}

/** After `lockSessionEntry`. A session that is not stored yet gets its entry when it is. */
export async function storeSessionEntry(query: Query, uid: string, clientId: string, entry: SessionEntry) {
  const rows = await sessionRows(query, uid);
  for (const { id, payload } of rows.sort((one, other) => one.id.compare(other.id))) {
    const authorizations = {
      ...payload.authorizations,
      [clientId]: { ...payload.authorizations?.[clientId], ...entry },
    };
    await query(SQL.updateSessionRow, [id, JSON.stringify({ ...payload, authorizations })]);
  }
}

/** @throws SessionNotFound when it has ended: nothing that was used may be used again */
export async function updateInteraction(query: Query, { id, payload }: Artifact): Promise<void> {
  const { rowCount } = await query(SQL.updateInteraction, [id, JSON.stringify(payload)]);
  if (rowCount !== 1) throw new errors.SessionNotFound('interaction session not found');
}

/** Of two requests that go on from one page, one does. @throws SessionNotFound for the other */
export async function removeInteraction(query: Query, id: Buffer): Promise<void> {
  if (!(await destroyArtifact(query, 'Interaction', id))) {
    throw new errors.SessionNotFound('interaction session not found');
  }
}

/**
 * @param isBefore whether a stored payload is what this artifact may follow
 * @throws SessionNotFound when another request was faster
 */
export async function advance(
  query: Query,
  artifact: Artifact,
  isBefore: (stored: AdapterPayload) => boolean,
): Promise<void> {
  const stored = await lockArtifact(query, artifact.model, artifact.id);
  if (stored === undefined || !isBefore(stored)) throw new errors.SessionNotFound('it was answered meanwhile');
  await commitWithin(query, [{ kind: 'upsert', artifact }]);
}

/** Until the end of the transaction nobody else changes it. @returns its stored payload */
export async function lockArtifact(query: Query, model: string, id: Buffer): Promise<AdapterPayload | undefined> {
  const { rows } = await query<{ payload: AdapterPayload }>(lockStatement([model]), [model, id]);
  return rows[0]?.payload;
}
