// Owns what many requests read and write of the engine's short-lived models (tokens, codes, grants,
// sessions). What they want at the same moment goes out in one statement (database/batcher), and
// each caller is answered after its commit. Single statements on the same tables are in artifacts;
// unit-of-work collects what one request writes.
//
// What one request writes is a unit: all of it is stored, or none. A unit may consume one artifact;
// of two requests that consume the same one, the second loses its whole unit, while the others of
// its statement are stored. One statement decides that, on all nodes. Whatever is wrong with a
// value fails in its own request, before the request joins a batch.

import type { FinishedRow } from '../../database/array-parameters.ts';
import type { Database } from '../../database/database.ts';
import {
  ARTIFACT_COLUMN_COUNT,
  FIND_SESSIONS,
  findStatement,
  findTokenWithGrantStatement,
  JWT_ROWS,
  JWT_STATUS,
  KEY_ROWS,
  modelOf,
  UID_ROWS,
} from './artifact-statements.ts';
import { createBatching, type StoreMetrics } from './batching.ts';
import { commitConsumingUnits, commitReusingUnits, commitUnits } from './commit-units.ts';
import { hasSessionEnded } from './ended-sessions.ts';
import { type FinishedReuse, type FinishedUnit, finishReuse, finishUnit, type Write } from './writes.ts';

/** Another request consumed the same artifact first. */
export class AlreadyConsumedError extends Error {
  readonly model: string;
  readonly artifactId: Buffer;
  /** of a refresh token that might have been used again: whether that was in time */
  readonly isWithinGrace: boolean | undefined;

  constructor(model: string, artifactId: Buffer, isWithinGrace?: boolean) {
    super(`${model} was consumed by another request`);
    this.name = 'AlreadyConsumedError';
    this.model = model;
    this.artifactId = artifactId;
    this.isWithinGrace = isWithinGrace;
  }
}

export interface StoredArtifact {
  readonly payload: Record<string, unknown>;
  readonly clientId: string | undefined;
  readonly accountId: string | undefined;
  /** seconds since 1970 */
  readonly issuedAt: number;
  /** seconds since 1970 */
  readonly consumedAt: number | undefined;
}

/** A user's token or code with what it depends on. */
export interface StoredTokenWithGrant {
  readonly source: StoredArtifact;
  readonly grant: StoredArtifact | undefined;
  /** only of what ends with it; the one that lasts longest */
  readonly session: StoredArtifact | undefined;
}

export interface JwtStatus {
  readonly isRevoked: boolean;
  /** of the user whose grant the token was issued under; undefined: there is no such grant */
  readonly accountId: string | undefined;
}

export interface ArtifactStore {
  find(model: string, id: Buffer): Promise<StoredArtifact | undefined>;
  findTokenWithGrant(model: string, id: Buffer): Promise<StoredTokenWithGrant | undefined>;
  /** Several when the id of a session has rotated: it keeps its uid. The longest-lived is first. */
  findSessions(uid: string): Promise<readonly StoredArtifact[]>;
  /** @param grantId undefined for a token without a user */
  findJwtStatus(jtiHash: Buffer, grantId: Buffer | undefined): Promise<JwtStatus>;
  /**
   * @returns whether it used a refresh token again, within its grace
   * @throws AlreadyConsumedError when it consumes what was consumed before; nothing was stored then
   * @throws UnstorableValueError and other errors of `finishUnit`; nothing of it was sent then
   */
  commit(unit: readonly Write[]): Promise<boolean>;
}

type Deps = Pick<Database, 'batchQuery'>;

/**
 * The caller's position, then the columns of one artifact or of three. As an array: an object for
 * each row, with a member for each column, costs several times as much.
 */
type Row = readonly [position: number, ...unknown[]];

export function createArtifactStore(
  deps: Pick<Database, 'batchQuery' | 'queueSize'>,
  metrics?: StoreMetrics,
): ArtifactStore {
  const batch = createBatching(deps, metrics);
  const findOne = batch('find', (keys: readonly FinishedRow[]) => findArtifacts(deps, keys));
  const findOneWithGrant = batch('find_with_grant', (keys: readonly FinishedRow[]) => findTokensWithGrants(deps, keys));
  const findByUid = batch('find_sessions', (uids: readonly FinishedRow[]) => findSessionsByUid(deps, uids));
  const findStatus = batch('jwt_status', (tokens: readonly FinishedRow[]) => findJwtStatuses(deps, tokens));
  // One statement at a time: what waits meanwhile shares the next one, and most of what a statement
  // costs is the same for any size.
  const commitPlain = batch('commit', (units: readonly FinishedUnit[]) => commitUnits(deps, units), {
    maxRunning: 1,
    isAlternating: true,
  });
  // One at a time: two would wait for each other's rows, and a larger statement costs less than
  // two.
  const commitConsuming = batch(
    'commit_consuming',
    (units: readonly FinishedUnit[]) => commitConsumingUnits(deps, units),
    { maxRunning: 1 },
  );
  const commitReusing = batch('commit_reusing', (units: readonly FinishedReuse[]) => commitReusingUnits(deps, units), {
    maxRunning: 1,
    maxBatch: 1,
  });

  const store: ArtifactStore = {
    find: async (model, id) => (await findOne(KEY_ROWS.finish([model, id])))[0],
    async findTokenWithGrant(model, id) {
      return completeSession(store, await findOneWithGrant(KEY_ROWS.finish([model, id])));
    },
    findSessions: async (uid) => findByUid(UID_ROWS.finish([uid])),
    findJwtStatus: async (jtiHash, grantId) => findStatus(JWT_ROWS.finish([jtiHash, grantId ?? null])),
    async commit(writes) {
      const unit = finishUnit(writes);
      const lost = await (unit.consumes === undefined ? commitPlain(unit) : commitConsuming(unit));
      if (lost === undefined) return false;
      const again = finishReuse(unit);
      const outcome = again && (await commitReusing(again));
      if (outcome === 'stored') return true;
      throw new AlreadyConsumedError(lost.model, lost.id, outcome && outcome !== 'too late');
    },
  };
  return store;
}

async function findArtifacts({ batchQuery }: Deps, keys: readonly FinishedRow[]): Promise<StoredArtifact[][]> {
  const { rows } = await batchQuery<Row>(findStatement(keys.map(modelOf)), KEY_ROWS.encode(keys));
  return byPosition(rows, keys.length);
}

async function findTokensWithGrants(
  { batchQuery }: Deps,
  keys: readonly FinishedRow[],
): Promise<(StoredTokenWithGrant | undefined)[]> {
  const { rows } = await batchQuery<Row>(findTokenWithGrantStatement(keys.map(modelOf)), KEY_ROWS.encode(keys));
  const found: (StoredTokenWithGrant | undefined)[] = keys.map(() => undefined);
  for (const row of rows) {
    const [source, grant, session] = [0, 1, 2].map((index) => toStored(row, index));
    if (source !== undefined) found[row[0]] = { source, grant, session };
  }
  return found;
}

/**
 * Rows that were stored before the column `uid` named the session of a token have it in their
 * payload only.
 */
async function completeSession(
  store: Pick<ArtifactStore, 'findSessions' | 'findJwtStatus'>,
  found: StoredTokenWithGrant | undefined,
): Promise<StoredTokenWithGrant | undefined> {
  if (found === undefined || found.session !== undefined) return found;
  const { expiresWithSession, sessionUid } = found.source.payload;
  if (expiresWithSession !== true || typeof sessionUid !== 'string') return found;
  if (await hasSessionEnded(store, sessionUid)) return found;
  const [session] = await store.findSessions(sessionUid);
  return { ...found, session };
}

async function findSessionsByUid({ batchQuery }: Deps, uids: readonly FinishedRow[]): Promise<StoredArtifact[][]> {
  const { rows } = await batchQuery<Row>(FIND_SESSIONS, UID_ROWS.encode(uids));
  return byPosition(rows, uids.length);
}

async function findJwtStatuses({ batchQuery }: Deps, tokens: readonly FinishedRow[]): Promise<JwtStatus[]> {
  const { rows } = await batchQuery<{ position: number; is_revoked: boolean; account_id: string | null }>(
    JWT_STATUS,
    JWT_ROWS.encode(tokens),
  );
  const found: JwtStatus[] = [];
  for (const row of rows) {
    found[row.position] = { isRevoked: row.is_revoked, accountId: row.account_id ?? undefined };
  }
  return found;
}

function byPosition(rows: readonly Row[], count: number): StoredArtifact[][] {
  const found: StoredArtifact[][] = Array.from({ length: count }, () => []);
  for (const row of rows) {
    const stored = toStored(row, 0);
    if (stored !== undefined) found[row[0]]?.push(stored);
  }
  return found;
}

/** @param index of the artifact in the row  @returns undefined if there was none to join */
function toStored(row: Row, index: number): StoredArtifact | undefined {
  const first = 1 + index * ARTIFACT_COLUMN_COUNT;
  if (row[first] === null) return undefined;
  return {
    payload: row[first] as Record<string, unknown>,
    clientId: (row[first + 1] as string | null) ?? undefined,
    accountId: (row[first + 2] as string | null) ?? undefined,
    issuedAt: row[first + 3] as number,
    consumedAt: (row[first + 4] as number | null) ?? undefined,
  };
}
