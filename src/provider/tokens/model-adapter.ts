// Tokens: how they are stored, found, bound to their clients, introspected and revoked. This file
// is the engine's adapter for its short-lived models, on `artifacts`: what every token, code, grant
// and session passes when it is saved (binding-hooks) and when it is found again
// (policy/token-status). JWT access tokens have no row: jwt-access-tokens.
// The grants issue through the engine's models, which end here.

import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import { isStranger } from '../../clients/client.ts';
import type { ChangeLog } from '../../database/change-log.ts';
import type { Query } from '../../database/database.ts';
import { currentContext } from '../engine-internals.ts';
import { issueTime } from '../http/current-memory.ts';
import { isReplaced, readSession, writeSession } from '../logout/session-storage.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import type { WriteBudget } from '../policy/write-budget.ts';
import { AlreadyConsumedError, type ArtifactStore } from '../storage/artifact-store.ts';
import {
  type Artifact,
  artifactId,
  destroyArtifact,
  type FoundArtifact,
  findByUserCode,
  removeGrant,
} from '../storage/artifacts.ts';
import { hasSessionEnded } from '../storage/ended-sessions.ts';
import { advance, removeInteraction, updateInteraction } from '../storage/saved-again.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { SAVED_ONCE } from '../storage/writes.ts';
import { isPushedByCaller } from './binding-hooks.ts';
import { delegationOf } from './delegation.ts';
import { assertIssuable } from './issuance-invariants.ts';
import { createPayloadSeals, type PayloadSeals } from './sealed-payload.ts';
import { hasOtherPrefix } from './token-prefixes.ts';

export interface StorageDeps {
  readonly query: Query;
  readonly artifactStore: Pick<ArtifactStore, 'find' | 'findSessions' | 'findJwtStatus' | 'commit'>;
  readonly directory: Directory;
  readonly unitOfWork: UnitOfWork;
  readonly writeBudget: WriteBudget;
  readonly changes: Pick<ChangeLog, 'now'>;
  readonly artifactKey: Buffer;
}

type Deps = StorageDeps & { readonly seals: PayloadSeals };

export function createStorage(storageDeps: StorageDeps): (model: string) => Adapter {
  const deps = { ...storageDeps, seals: createPayloadSeals(storageDeps.artifactKey) };
  return (model) => ({
    upsert: (id, payload, expiresInSeconds) => store(deps, { model, id, payload, expiresInSeconds }),
    find: (id) => find(deps, model, id),
    findByUid: (uid) => findByUid(deps, model, uid),
    async findByUserCode(userCode) {
      const found = await findByUserCode(deps.query, model, deps.seals.hashUserCode(userCode));
      return found && toPayload({ ...found, payload: deps.seals.openWithoutId(found.payload) });
    },
    consume: (id) => consume(deps, model, id),
    destroy: (id) => destroy(deps, model, id),
    // The engine asks each model in turn, and the Grant. The first to be asked removes all of it in
    // one statement: a crash in between leaves no half of a revoked grant.
    async revokeByGrantId(grantId) {
      await deps.unitOfWork.step((query) => removeGrant(query, artifactId('Grant', grantId)));
    },
  });
}

interface Saved {
  readonly model: string;
  readonly id: string;
  readonly payload: AdapterPayload;
  readonly expiresInSeconds: number | undefined;
}

async function store(deps: Deps, { model, id, payload: saved, expiresInSeconds }: Saved): Promise<void> {
  const { directory, seals, unitOfWork, changes } = deps;
  await assertIssuable(directory, model, saved);
  await chargeAnonymous(deps, model, saved);
  // The engine knows the clock of this process only.
  const payload = isNew(model, saved) ? { ...saved, iat: issueTime(changes) } : saved;
  const toRow = (rowId: Buffer, row: AdapterPayload): Artifact => {
    const issuedAt = row.loginTs ?? row.iat ?? issueTime(changes);
    return {
      model,
      id: rowId,
      payload: seals.close(model, id, row),
      clientId: row.clientId,
      accountId: row.accountId,
      grantId: issuedUnder(model, row),
      uid: row.expiresWithSession ? row.sessionUid : row.uid,
      userCode: row.userCode === undefined ? undefined : seals.hashUserCode(row.userCode),
      issuedAt,
      expiresAt: row.exp ?? (expiresInSeconds === undefined ? undefined : issuedAt + expiresInSeconds),
    };
  };
  if (model === 'Session') return writeSession(deps, id, payload, toRow);
  const artifact = toRow(artifactId(model, id), payload);
  // Of an interaction that was stored before: it has a result now.
  if (model === 'Interaction' && payload.result !== undefined) {
    return unitOfWork.step((query) => updateInteraction(query, artifact));
  }
  if (model === 'DeviceCode' && stageOf(payload) !== 'new') {
    const isBefore = (stored: AdapterPayload) => stageOf(seals.openWithoutId(stored)) === stageBefore(payload);
    return unitOfWork.step((query) => advance(query, artifact, isBefore));
  }
  await unitOfWork.write({ kind: 'upsert', artifact });
}

/** Everything else is stored for a user or an authenticated client; sessions are charged where they are stored. */
async function chargeAnonymous(
  { writeBudget, directory }: Pick<Deps, 'writeBudget' | 'directory'>,
  model: string,
  payload: AdapterPayload,
): Promise<void> {
  if (model === 'Interaction' && payload.result === undefined && payload.accountId === undefined) {
    writeBudget.charge(String(payload.params?.client_id));
  }
  const isPushed = model === 'PushedAuthorizationRequest' || (model === 'DeviceCode' && stageOf(payload) === 'new');
  const client = isPushed ? currentContext()?.oidc.client : undefined;
  if (client === undefined) return;
  const known = client.clientAuthMethod === 'none' ? undefined : await directory.findClient(client.clientId);
  if (known === undefined || isStranger(known)) writeBudget.charge(client.clientId);
}

/** Grants and sessions are saved again; a grant is given its `iat` when it is made. */
function isNew(model: string, payload: AdapterPayload): boolean {
  return SAVED_ONCE.has(model) || (model === 'DeviceCode' && stageOf(payload) === 'new');
}

/** A person confirms a device code and then allows or refuses, or refuses at once; each step once. */
function stageOf({ inFlight, accountId, error }: AdapterPayload): 'new' | 'confirmed' | 'answered' {
  if (accountId !== undefined || error !== undefined) return 'answered';
  return inFlight ? 'confirmed' : 'new';
}

function stageBefore(code: AdapterPayload): 'new' | 'confirmed' {
  return stageOf(code) === 'answered' && code.inFlight ? 'confirmed' : 'new';
}

async function find(deps: Deps, model: string, id: string): Promise<AdapterPayload | undefined> {
  const { artifactStore, directory, seals } = deps;
  if (hasOtherPrefix(model, id)) return undefined;
  const found = await artifactStore.find(model, artifactId(model, id));
  // What was issued by a request that raced with a revocation is void although it was written after
  // it.
  if (found === undefined || !(await isNotRevoked(directory, found))) return undefined;
  if (model === 'Session' && (await hasSessionEnded(artifactStore, found.payload.uid as string))) return undefined;
  const payload = { ...toPayload({ ...found, payload: seals.open(model, id, found.payload) }), jti: id };
  if (model === 'Session') return readSession(directory, payload);
  return model === 'PushedAuthorizationRequest' && !isPushedByCaller(payload) ? undefined : payload;
}

async function findByUid({ artifactStore, directory }: Deps, model: string, uid: string) {
  if (model !== 'Session' || (await hasSessionEnded(artifactStore, uid))) return undefined;
  for (const found of await artifactStore.findSessions(uid)) {
    if (await isNotRevoked(directory, found)) return toPayload(found);
  }
  return undefined;
}

async function consume({ artifactStore, unitOfWork }: Deps, model: string, id: string): Promise<void> {
  const write = { kind: 'consume', model, id: artifactId(model, id) } as const;
  if (model !== 'PushedAuthorizationRequest') return unitOfWork.write(write);
  try {
    // At once: the engine refuses the request if it is the second.
    await artifactStore.commit([write]);
  } catch (error) {
    // RFC 9126 §4: a request_uri is used once; two browsers may have opened it at the same time.
    throw error instanceof AlreadyConsumedError ? new errors.InvalidRequestUri('request_uri was already used') : error;
  }
}

async function destroy({ unitOfWork }: Deps, model: string, id: string): Promise<void> {
  const remove = (query: Query) => destroyArtifact(query, model, artifactId(model, id));
  if (model === 'Session') return isReplaced(id) ? undefined : unitOfWork.stepFirst(remove);
  if (model === 'Interaction') return unitOfWork.step((query) => removeInteraction(query, artifactId(model, id)));
  return unitOfWork.step(remove);
}

/**
 * What is removed with the grant. A login in progress only names the grant of its session: it
 * outlives that.
 */
function issuedUnder(model: string, payload: AdapterPayload): Buffer | undefined {
  const grantId = payload.grantId ?? delegationOf(payload.extra)?.lanyard_origin.grant_id;
  return grantId === undefined || model === 'Interaction' ? undefined : artifactId('Grant', grantId);
}

function toPayload({ payload, consumedAt }: FoundArtifact): AdapterPayload {
  return consumedAt === undefined ? payload : { ...payload, consumed: Math.floor(consumedAt) };
}
