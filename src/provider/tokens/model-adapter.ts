// Tokens: how they are stored, found, bound to their clients, introspected and revoked. This file
// is the engine's adapter for its short-lived models, on `artifacts`: what every token, code, grant
// and session passes when it is saved (binding-hooks) and when it is found again
// (policy/token-status). JWT access tokens have no row: jwt-access-tokens.
// The grants issue through the engine's models, which end here.

import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import { AlreadyConsumedError, type ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId, destroyArtifact, type FoundArtifact, findByUserCode, removeGrant } from '../storage/artifacts.ts';
import { hasSessionEnded } from '../storage/ended-sessions.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
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

async function store({ directory, seals, unitOfWork }: Deps, { model, id, payload, expiresInSeconds }: Saved) {
  await assertIssuable(directory, model, payload);
  const issuedAt = payload.loginTs ?? payload.iat ?? Math.floor(Date.now() / 1000);
  const expiresAt = payload.exp ?? (expiresInSeconds === undefined ? undefined : issuedAt + expiresInSeconds);
  const kept = model === 'Session' ? await withoutGivenUpAccess(directory, payload) : payload;
  await unitOfWork.write({
    kind: 'upsert',
    artifact: {
      model,
      id: artifactId(model, id),
      payload: seals.close(model, id, kept),
      clientId: payload.clientId,
      accountId: payload.accountId,
      grantId: issuedUnder(model, payload),
      uid: payload.expiresWithSession ? payload.sessionUid : payload.uid,
      userCode: payload.userCode === undefined ? undefined : seals.hashUserCode(payload.userCode),
      issuedAt,
      expiresAt,
    },
  });
}

/**
 * OpenID Connect Back-Channel Logout §2.7: what was granted with offline_access outlives the
 * session, and the session says so. A client that has registered `revoke_tokens_on_logout` gives
 * that up.
 */
async function withoutGivenUpAccess(directory: Directory, session: AdapterPayload): Promise<AdapterPayload> {
  const authorizations: Record<string, object> = {};
  for (const [clientId, authorization] of Object.entries(session.authorizations ?? {})) {
    const isGivenUp = (await directory.findClient(clientId))?.metadata.revoke_tokens_on_logout === true;
    authorizations[clientId] = isGivenUp ? { ...authorization, persistsLogout: false } : authorization;
  }
  return session.authorizations === undefined ? session : { ...session, authorizations };
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
  // RFC 9126 §4: a request_uri is used once, and two browsers may have opened it at the same time.
  // Decided at once: the engine makes the answer of it.
  await artifactStore.commit([write]).catch((error: unknown) => {
    throw error instanceof AlreadyConsumedError ? new errors.InvalidRequestUri('request_uri was already used') : error;
  });
}

/**
 * The row of a session comes first: the admin API ends sessions in the same order of rows, so that
 * the two cannot deadlock.
 */
function destroy({ unitOfWork }: Deps, model: string, id: string): Promise<void> {
  const remove = (query: Query) => destroyArtifact(query, model, artifactId(model, id));
  return model === 'Session' ? unitOfWork.stepFirst(remove) : unitOfWork.step(remove);
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
