// The engine's sessions on their way from and to the database. What a request has read is
// remembered with it, so that the session is stored as a change of that (storage/session-merge),
// and the id that the engine replaces gives way in the same transaction.

import type { AdapterPayload, KoaContextWithOIDC } from 'oidc-provider';
import { currentContext, replacedSessionId } from '../engine-internals.ts';
import type { Directory } from '../policy/directory.ts';
import type { WriteBudget } from '../policy/write-budget.ts';
import { type Artifact, artifactId } from '../storage/artifacts.ts';
import { saveSession } from '../storage/saved-again.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';

const readByRequest = new WeakMap<KoaContextWithOIDC, Map<string, AdapterPayload>>();

/**
 * OpenID Connect Back-Channel Logout §2.7: what was granted with offline_access outlives the
 * session, and the session says so. A client that has registered `revoke_tokens_on_logout` gives
 * that up.
 */
export async function readSession(directory: Directory, stored: AdapterPayload): Promise<AdapterPayload> {
  const authorizations: Record<string, object> = {};
  for (const [clientId, authorization] of Object.entries(stored.authorizations ?? {})) {
    const isGivenUp = (await directory.findClient(clientId))?.metadata.revoke_tokens_on_logout === true;
    authorizations[clientId] = isGivenUp ? { ...authorization, persistsLogout: false } : authorization;
  }
  const session = stored.authorizations === undefined ? stored : { ...stored, authorizations };
  remember(session);
  return session;
}

/** As it was read first. */
function remember(session: AdapterPayload): void {
  const ctx = currentContext();
  if (ctx === undefined || session.uid === undefined) return;
  const read = readByRequest.get(ctx) ?? new Map<string, AdapterPayload>();
  readByRequest.set(ctx, read);
  if (!read.has(session.uid)) read.set(session.uid, copyOf(session));
}

/** Of the session of this request, if it was that user's before. */
export function storedSessionUid(accountId: string): string | undefined {
  const ctx = currentContext();
  const uid = ctx?.oidc.session?.uid;
  const read = ctx && uid !== undefined ? readByRequest.get(ctx)?.get(uid) : undefined;
  return read?.accountId === accountId ? uid : undefined;
}

/** Whether the engine removes this id because the session gets another one, and is stored next. */
export function isReplaced(sessionId: string): boolean {
  return replacedSessionId() === sessionId;
}

export interface SessionWriter {
  readonly unitOfWork: UnitOfWork;
  readonly writeBudget: WriteBudget;
}

/** @param toRow the row of one id with its payload */
export async function writeSession(
  { unitOfWork, writeBudget }: SessionWriter,
  sessionId: string,
  payload: AdapterPayload,
  toRow: (id: Buffer, payload: AdapterPayload) => Artifact,
): Promise<void> {
  const id = artifactId('Session', sessionId);
  const { uid = '' } = payload;
  const ctx = currentContext();
  const read = ctx && readByRequest.get(ctx)?.get(uid);
  if (read === undefined) {
    // The engine stores one for every browser that shows a cookie, and has nothing to say about it.
    if (isEmpty(payload)) return;
    if (payload.accountId === undefined) writeBudget.charge(undefined);
    return unitOfWork.write({ kind: 'upsert', artifact: toRow(id, payload) });
  }
  const oldId = replacedSessionId();
  const replacedId = oldId === undefined ? undefined : artifactId('Session', oldId);
  const change = { id, replacedId, read, written: copyOf(payload) };
  await unitOfWork.stepFirst((query) => saveSession(query, uid, change, toRow), uid);
}

function isEmpty({ accountId, state, authorizations = {} }: AdapterPayload): boolean {
  return accountId === undefined && state === undefined && Object.keys(authorizations).length === 0;
}

/** The engine changes a session in place. */
function copyOf(session: AdapterPayload): AdapterPayload {
  return JSON.parse(JSON.stringify(session));
}
