// The statements of the hot path. What many requests read or write at the same moment goes out in one statement
// (database/gather), each caller answered after its commit.
//
// What one request writes is a unit: all of it is stored, or none. A unit may consume one artifact; who comes second loses
// its whole unit, while the others of the same statement are stored. That one statement decides it, on all nodes.

import type { Database } from '../../database/database.ts';
import {
  ARTIFACT_COLUMN_COUNT,
  ARTIFACT_ROWS,
  COMMIT,
  COMMIT_EVENTS,
  CONSUMED_ROWS,
  type CommitStatements,
  commitConsumingStatements,
  EVENT_ROWS,
  FIND_SESSIONS,
  findStatement,
  findTokenWithGrantStatement,
  JWT_ROWS,
  JWT_STATUS,
  KEY_ROWS,
  ONLY_EVENT_ROWS,
  UID_ROWS,
} from './artifact-statements.ts';
import { createBatching, type StoreMetrics } from './batching.ts';
import { toRows, type Write } from './writes.ts';

/** Somebody else consumed the same artifact first. */
export class AlreadyConsumedError extends Error {
  readonly model: string;
  readonly artifactId: Buffer;

  constructor(model: string, artifactId: Buffer) {
    super(`${model} was consumed by another request`);
    this.name = 'AlreadyConsumedError';
    this.model = model;
    this.artifactId = artifactId;
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
  /** of the user whose grant stands behind the token; undefined: no such grant (any more) */
  readonly accountId: string | undefined;
}

export interface ArtifactStore {
  find(model: string, id: Buffer): Promise<StoredArtifact | undefined>;
  findTokenWithGrant(model: string, id: Buffer): Promise<StoredTokenWithGrant | undefined>;
  /** Several when the id of a session has rotated: it keeps its uid. The one that lasts longest comes first. */
  findSessions(uid: string): Promise<readonly StoredArtifact[]>;
  /** @param grantId undefined for a token that no user stands behind */
  findJwtStatus(jtiHash: Buffer, grantId: Buffer | undefined): Promise<JwtStatus>;
  /** @throws AlreadyConsumedError when the unit consumes what was consumed before; nothing of it was stored then */
  commit(unit: readonly Write[]): Promise<void>;
}

/**
 * The caller's position, then the columns of one artifact or of three. As an array: an object for each row, with a member for each
 * column, costs several times as much.
 */
type Row = readonly [position: number, ...unknown[]];

/** PostgreSQL, appendix A */
const UNIQUE_VIOLATION = '23505';

type Consume = Extract<Write, { kind: 'consume' }>;

export function createArtifactStore(
  { batchQuery, queueSize }: Pick<Database, 'batchQuery' | 'queueSize'>,
  metrics?: StoreMetrics,
): ArtifactStore {
  const gather = createBatching({ queueSize }, metrics);

  const find = gather<{ model: string; id: Buffer }, readonly StoredArtifact[]>('find', async (keys) => {
    const { rows } = await batchQuery<Row>(findStatement(modelsOf(keys)), toKeyRows(keys));
    return byPosition(rows, keys.length);
  });

  const findTokenWithGrant = gather<{ model: string; id: Buffer }, StoredTokenWithGrant | undefined>(
    'find_family',
    async (keys) => {
      const { rows } = await batchQuery<Row>(findTokenWithGrantStatement(modelsOf(keys)), toKeyRows(keys));
      const found: (StoredTokenWithGrant | undefined)[] = keys.map(() => undefined);
      for (const row of rows) {
        const [source, grant, session] = [0, 1, 2].map((index) => toStored(row, index));
        if (source !== undefined) found[row[0]] = { source, grant, session };
      }
      return found;
    },
  );

  const findSessions = gather<string, readonly StoredArtifact[]>('find_sessions', async (uids) => {
    const { rows } = await batchQuery<Row>(
      FIND_SESSIONS,
      UID_ROWS.encode(uids.map((uid, position) => [position, uid])),
    );
    return byPosition(rows, uids.length);
  });

  const findJwtStatus = gather<{ jtiHash: Buffer; grantId: Buffer | undefined }, JwtStatus>(
    'jwt_status',
    async (tokens) => {
      const { rows } = await batchQuery<{ position: number; is_revoked: boolean; account_id: string | null }>(
        JWT_STATUS,
        JWT_ROWS.encode(tokens.map(({ jtiHash, grantId }, position) => [position, jtiHash, grantId ?? null])),
      );
      const found: JwtStatus[] = [];
      for (const row of rows) {
        found[row.position] = { isRevoked: row.is_revoked, accountId: row.account_id ?? undefined };
      }
      return found;
    },
  );

  async function store<R>(statements: CommitStatements, { areNew, values }: { areNew: boolean; values: unknown[] }) {
    try {
      if (areNew) return await batchQuery<R>(statements.inserting, values);
    } catch (error) {
      if ((error as { code?: unknown }).code !== UNIQUE_VIOLATION) throw error;
    }
    return batchQuery<R>(statements.replacing, values);
  }

  const commitPlain = gather<readonly Write[], undefined>(
    'commit',
    async (units) => {
      const { areNew, artifacts, events } = toRows(units);
      // JWTs have no rows, only events.
      if (artifacts.length === 0) await batchQuery(COMMIT_EVENTS, ONLY_EVENT_ROWS.encode(events));
      else await store(COMMIT, { areNew, values: [...ARTIFACT_ROWS.encode(artifacts), ...EVENT_ROWS.encode(events)] });
      return units.map(() => undefined);
    },
    // One at a time: what waits meanwhile shares the next statement, and most of what a statement costs is the same for any size.
    { maxRunning: 1, isAlternating: true },
  );

  const commitConsuming = gather<readonly Write[], Consume | undefined>(
    'commit_consuming',
    async (units) => {
      const { areNew, artifacts, events, consumes } = toRows(units);
      const values = [
        ...ARTIFACT_ROWS.encode(artifacts),
        ...EVENT_ROWS.encode(events),
        ...CONSUMED_ROWS.encode(consumes),
      ];
      const statements = commitConsumingStatements(consumes.map(([, model]) => model as string));
      const { rows } = await store<{ unit: number }>(statements, { areNew, values });
      const lost = new Set(rows.map(({ unit }) => unit));
      return units.map((unit, position) => (lost.has(position) ? consumeOf(unit) : undefined));
    },
    // One at a time: two would wait for each other's rows, and a larger statement is cheaper than two.
    { maxRunning: 1 },
  );

  return {
    find: async (model, id) => (await find({ model, id }))[0],
    findTokenWithGrant: (model, id) => findTokenWithGrant({ model, id }),
    findSessions: (uid) => findSessions(uid),
    findJwtStatus: (jtiHash, grantId) => findJwtStatus({ jtiHash, grantId }),
    async commit(unit) {
      const consumes = unit.filter(({ kind }) => kind === 'consume').length;
      if (consumes > 1) throw new Error('a unit consumes one artifact at most');
      const lost = await (consumes === 0 ? commitPlain(unit) : commitConsuming(unit));
      if (lost !== undefined) throw new AlreadyConsumedError(lost.model, lost.id);
    },
  };
}

function modelsOf(keys: readonly { model: string }[]): string[] {
  return keys.map(({ model }) => model);
}

function toKeyRows(keys: readonly { model: string; id: Buffer }[]): Buffer[] {
  return KEY_ROWS.encode(keys.map(({ model, id }, position) => [position, model, id]));
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

function consumeOf(unit: readonly Write[]): Consume | undefined {
  return unit.find((write): write is Consume => write.kind === 'consume');
}
