// Rows of `oidc_artifacts`: the engine's short-lived models. Ids are stored as SHA-256, so a copy
// of the database holds no usable token, code or cookie. What every request does with them is in
// artifact-store.

import { hash } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import { forEachTable } from './partitions.ts';

const SQL = {
  findByUserCode: { name: 'artifact_find_user_code', text: selectValid('a.model = $1 AND a.user_code = $2') },
  removeGrant: {
    name: 'artifact_remove_grant',
    text: `DELETE FROM oidc_artifacts WHERE grant_id = $1 OR (model = 'Grant' AND id = $1)`,
  },
  removeOfClient: { name: 'artifact_remove_of_client', text: removal('client_id = $1') },
  removeSessionsOfAccount: {
    name: 'artifact_remove_sessions_of_account',
    // In the order in which saved-again takes them; a session that is known by two ids counts once.
    text: `WITH all_ids AS (
             SELECT id FROM oidc_artifacts WHERE model = 'Session' AND account_id = $1 ORDER BY id FOR UPDATE
           ), gone AS (
             DELETE FROM oidc_artifacts WHERE model = 'Session' AND id IN (SELECT id FROM all_ids) RETURNING model, uid
           ) SELECT model, count(DISTINCT uid)::int AS count FROM gone GROUP BY model`,
  },
  removeOfAccount: { name: 'artifact_remove_of_account', text: removal('account_id = $1') },
};

/**
 * A statement on all partitions is planned at each use, which takes three times as long as running
 * it.
 */
const destroyStatement = forEachTable((table) => ({
  name: `artifact_destroy_in_${table}`,
  text: `DELETE FROM ${table} WHERE model = $1 AND id = $2`,
}));
const grantOfStatement = forEachTable((table) => ({
  name: `artifact_grant_of_in_${table}`,
  text: `SELECT grant_id, client_id, account_id FROM ${table} WHERE model = $1 AND id = $2`,
}));

/**
 * A row is valid only while its client and its user exist and have no later "not before": what was
 * issued by a request that raced with a revocation is void although it was written after it.
 * Expired and consumed rows are returned: the engine tells them apart.
 */
function selectValid(condition: string): string {
  return `SELECT a.payload, extract(epoch FROM a.consumed_at)::float8 AS consumed_at FROM oidc_artifacts a
          LEFT JOIN clients c ON c.client_id = a.client_id
          LEFT JOIN users u ON u.id = a.account_id
          WHERE ${condition}
            AND (a.client_id IS NULL OR c.client_id IS NOT NULL)
            AND (a.account_id IS NULL OR u.id IS NOT NULL)
            AND a.issued_at >= coalesce(greatest(c.tokens_not_before, u.tokens_not_before), '-infinity')
          ORDER BY a.expires_at DESC LIMIT 1`;
}

function removal(condition: string): string {
  return `WITH gone AS (DELETE FROM oidc_artifacts WHERE ${condition} RETURNING model)
          SELECT model, count(*)::int AS count FROM gone GROUP BY model`;
}

export interface Artifact {
  readonly model: string;
  readonly id: Buffer;
  readonly payload: unknown;
  readonly clientId: string | undefined;
  readonly accountId: string | undefined;
  readonly grantId: Buffer | undefined;
  /** of a session: its own; of a token that ends with a session: that of the session */
  readonly uid: string | undefined;
  readonly userCode: string | undefined;
  /** seconds since 1970 */
  readonly issuedAt: number;
  /** seconds since 1970 */
  readonly expiresAt: number | undefined;
}

export interface FoundArtifact {
  readonly payload: AdapterPayload;
  /** seconds since 1970 */
  readonly consumedAt: number | undefined;
}

/** What is stored instead of the id of a model. */
export function artifactId(model: string, id: string): Buffer {
  return sha256(`${model}\0${id}`);
}

/** By way of hex: each `buffer` of the hash would be memory outside of the heap, which costs several times as much. */
export function sha256(text: string): Buffer {
  return Buffer.from(hash('sha256', text, 'hex'), 'hex');
}

export async function findByUserCode(
  query: Query,
  model: string,
  userCode: string,
): Promise<FoundArtifact | undefined> {
  const { rows } = await query<{ payload: AdapterPayload; consumed_at: number | null }>(SQL.findByUserCode, [
    model,
    userCode,
  ]);
  return rows[0] && { payload: rows[0].payload, consumedAt: rows[0].consumed_at ?? undefined };
}

/** @returns whether there was such a row */
export async function destroyArtifact(query: Query, model: string, id: Buffer): Promise<boolean> {
  return (await query(destroyStatement([model]), [model, id])).rowCount === 1;
}

export interface GrantReference {
  readonly grantId: Buffer;
  readonly clientId: string | undefined;
  readonly accountId: string | undefined;
}

export async function findGrantOf(query: Query, model: string, id: Buffer): Promise<GrantReference | undefined> {
  const { rows } = await query<{ grant_id: Buffer | null; client_id: string | null; account_id: string | null }>(
    grantOfStatement([model]),
    [model, id],
  );
  const row = rows[0];
  if (row === undefined || row.grant_id === null) return undefined;
  return { grantId: row.grant_id, clientId: row.client_id ?? undefined, accountId: row.account_id ?? undefined };
}

/**
 * A grant with everything that was issued under it; JWTs turn inactive because their grant is gone.
 * @returns whether there was anything of it
 */
export async function removeGrant(query: Query, grantId: Buffer): Promise<boolean> {
  return (await query(SQL.removeGrant, [grantId])).rowCount > 0;
}

export interface RemovedArtifacts {
  readonly accessTokens: number;
  readonly refreshTokens: number;
  readonly authorizationCodes: number;
  readonly grants: number;
  readonly sessions: number;
}

export async function removeArtifactsOfClient(query: Query, clientId: string): Promise<RemovedArtifacts> {
  return countsByKind(await query(SQL.removeOfClient, [clientId]));
}

/** Sessions included, and first: a logout takes its rows in the same order. */
export async function removeArtifactsOfAccount(query: Query, accountId: string): Promise<RemovedArtifacts> {
  const first = countsByKind(await query(SQL.removeSessionsOfAccount, [accountId]));
  const rest = countsByKind(await query(SQL.removeOfAccount, [accountId]));
  return { ...rest, sessions: first.sessions + rest.sessions };
}

function countsByKind({ rows }: { rows: { model: string; count: number }[] }): RemovedArtifacts {
  const count = (model: string) => rows.find((row) => row.model === model)?.count ?? 0;
  return {
    accessTokens: count('AccessToken') + count('ClientCredentials'),
    refreshTokens: count('RefreshToken'),
    authorizationCodes: count('AuthorizationCode'),
    grants: count('Grant'),
    sessions: count('Session'),
  };
}
