// The engine's adapter for its short-lived models, on `artifacts`. It keeps the ids out of the payloads, seals what would give
// a running login away, and lets JWT access tokens be found and destroyed although they have no row (jwt-bridge).

import { createHmac, hkdfSync } from 'node:crypto';
import Provider, { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import type { Query } from '../../database/database.ts';
import { open, seal } from '../../keys/seal.ts';
import type { LogoutTransaction } from '../logout/logout-transaction.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import { AlreadyConsumedError, type ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId, destroyArtifact, type FoundArtifact, findByUserCode, removeGrant } from '../storage/artifacts.ts';
import { hasSessionEnded } from '../storage/ended-sessions.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { delegationOf } from './delegation.ts';
import type { JwtAccessTokens } from './jwt-access-tokens.ts';
import { assertNotJustRotated } from './refresh-grace.ts';
import { hasOtherPrefix } from './token-prefixes.ts';

/**
 * The engine looks these up by a second key and saves them again by their id, so the payload must keep it. It is sealed under
 * the key of the installation, and the second key is hashed with that: there are too few user codes for a plain hash.
 */
const KEEPS_ID = new Set(['DeviceCode']);

/**
 * An Interaction holds the id of the session and its own id, both of which are cookie values, and every parameter of the
 * request, as a pushed request does. Only who knows the id can open it.
 */
const SEALED = new Set(['Interaction', 'PushedAuthorizationRequest']);

const NAME_OF_SEAL = 'oidc artifact';

export interface StorageDeps {
  readonly query: Query;
  readonly artifactStore: Pick<ArtifactStore, 'find' | 'findSessions' | 'findJwtStatus'>;
  readonly directory: Directory;
  readonly unitOfWork: UnitOfWork;
  readonly jwtAccessTokens: JwtAccessTokens;
  readonly logout: Pick<LogoutTransaction, 'write' | 'writeFirst'>;
  readonly artifactKey: Buffer;
}

export function createStorage(deps: StorageDeps): (model: string) => Adapter {
  const { query, artifactStore, directory, unitOfWork, jwtAccessTokens, logout, artifactKey } = deps;

  function sealed(model: string, id: string, payload: AdapterPayload): unknown {
    if (KEEPS_ID.has(model)) return sealWith(artifactKey, payload);
    const { jti: _, ...withoutId } = payload;
    return SEALED.has(model) ? sealWith(keyFrom(id), withoutId) : withoutId;
  }

  function opened(model: string, id: string, stored: AdapterPayload): AdapterPayload {
    if (KEEPS_ID.has(model)) return openWith(artifactKey, stored);
    return SEALED.has(model) ? openWith(keyFrom(id), stored) : stored;
  }

  const hashUserCode = (userCode: string) => createHmac('sha256', artifactKey).update(userCode).digest('base64url');

  return (model) => ({
    upsert(id, payload, expiresInSeconds) {
      const issuedAt = payload.loginTs ?? payload.iat ?? Math.floor(Date.now() / 1000);
      const expiresAt = payload.exp ?? (expiresInSeconds === undefined ? undefined : issuedAt + expiresInSeconds);
      return unitOfWork.write({
        kind: 'upsert',
        artifact: {
          model,
          id: artifactId(model, id),
          payload: sealed(model, id, payload),
          clientId: payload.clientId,
          accountId: payload.accountId,
          grantId: issuedUnder(model, payload),
          uid: payload.expiresWithSession ? payload.sessionUid : payload.uid,
          userCode: payload.userCode === undefined ? undefined : hashUserCode(payload.userCode),
          issuedAt,
          expiresAt,
        },
      });
    },

    async find(id) {
      if (jwtAccessTokens.isPrefixedJwt(id)) return jwtAccessTokens.find(model, id);
      if (hasOtherPrefix(model, id)) return undefined;
      const found = await artifactStore.find(model, artifactId(model, id));
      if (model === 'RefreshToken' && Provider.ctx?.oidc.route === 'token') refuseJustRotated(found);
      // What was issued by a request that raced with a revocation is void although it was written after it.
      if (found === undefined || !(await isNotRevoked(directory, found))) return undefined;
      if (model === 'Session' && (await hasSessionEnded(artifactStore, found.payload.uid as string))) return undefined;
      const payload = { ...toPayload({ ...found, payload: opened(model, id, found.payload) }), jti: id };
      return model === 'AuthorizationCode' ? replayable(payload) : payload;
    },

    async findByUid(uid) {
      if (model !== 'Session' || (await hasSessionEnded(artifactStore, uid))) return undefined;
      for (const found of await artifactStore.findSessions(uid)) {
        if (await isNotRevoked(directory, found)) return toPayload(found);
      }
      return undefined;
    },

    async findByUserCode(userCode) {
      const found = await findByUserCode(query, model, hashUserCode(userCode));
      return found && toPayload({ ...found, payload: openWith(artifactKey, found.payload) });
    },

    async consume(id) {
      try {
        await unitOfWork.write({ kind: 'consume', model, id: artifactId(model, id) });
      } catch (error) {
        // RFC 9126 §4: a request_uri is used once; two browsers may have opened it at the same time.
        const isReused = error instanceof AlreadyConsumedError && model === 'PushedAuthorizationRequest';
        throw isReused ? new errors.InvalidRequestUri('request_uri was already used') : error;
      }
    },

    async destroy(id) {
      const remove = (query: Query) => destroyArtifact(query, model, artifactId(model, id));
      if (model === 'Session') return logout.writeFirst(remove);
      if (model === 'Grant') return logout.write(remove);
      const isGone = await remove(query);
      if (!isGone) await jwtAccessTokens.destroy(id);
    },

    // The engine asks each model in turn, and the Grant. The first to be asked takes all of it in one statement: a crash
    // in between leaves no half of a revoked grant.
    async revokeByGrantId(grantId) {
      await logout.write((query) => removeGrant(query, artifactId('Grant', grantId)));
    },
  });
}

/** Its own client only: the engine refuses others, without a word about the token. */
function refuseJustRotated(found: (FoundArtifact & { readonly clientId?: string | undefined }) | undefined): void {
  const client = Provider.ctx?.oidc.client;
  if (isSameClient(client?.clientId, found?.clientId)) assertNotJustRotated(client, found?.consumedAt);
}

/** What goes when the grant goes. A login in progress only knows the grant of its session: it outlives that. */
function issuedUnder(model: string, payload: AdapterPayload): Buffer | undefined {
  const grantId = payload.grantId ?? delegationOf(payload.extra)?.lanyard_origin.grant_id;
  return grantId === undefined || model === 'Interaction' ? undefined : artifactId('Grant', grantId);
}

function toPayload({ payload, consumedAt }: FoundArtifact): AdapterPayload {
  return consumedAt === undefined ? payload : { ...payload, consumed: Math.floor(consumedAt) };
}

/**
 * RFC 6749 §4.1.2: a code that comes a second time revokes what it gave. The engine looks at its expiry first, and would leave it at
 * that; a code that was used cannot expire any more.
 */
function replayable(payload: AdapterPayload): AdapterPayload {
  return payload.consumed === undefined ? payload : { ...payload, exp: Number.MAX_SAFE_INTEGER };
}

function keyFrom(id: string): Buffer {
  return Buffer.from(hkdfSync('sha256', id, 'lanyard', NAME_OF_SEAL, 32));
}

function sealWith(key: Buffer, payload: object): { sealed: string } {
  return { sealed: seal(key, NAME_OF_SEAL, JSON.stringify(payload)) };
}

function openWith(key: Buffer, stored: AdapterPayload): AdapterPayload {
  return JSON.parse(open(key, NAME_OF_SEAL, (stored as { sealed: string }).sealed));
}
