// Initial access tokens (RFC 7591 §3): with one, clients are registered without an operator. It
// limits how many, until when, and which metadata, and may say whether they must use PKCE. Each use is
// counted in the transaction that registers the client.

import { hash, randomBytes } from 'node:crypto';
import { type ChangedBy, recordAudit } from '../../audit/audit.ts';
import type { Database, Query } from '../../database/database.ts';
import { oneRow } from '../../database/one-row.ts';
import { notFound } from '../../errors.ts';
import type { AllowedRegistration } from './unverified.ts';

export interface InitialAccessToken {
  readonly id: string;
  readonly note: string;
  readonly maxUses: number;
  readonly uses: number;
  readonly allowed: AllowedRegistration;
  /** of the confidential clients that leave it out */
  readonly requirePkce: boolean;
  readonly expiresAt: Date;
  readonly createdAt: Date;
}

interface Row {
  id: string;
  note: string;
  max_uses: number;
  uses: number;
  allowed: AllowedRegistration;
  require_pkce: boolean | null;
  expires_at: Date;
  created_at: Date;
}

const COLUMNS = 'id, note, max_uses, uses, allowed, require_pkce, expires_at, created_at';
const IS_USABLE = 'token_hash = $1 AND uses < max_uses AND expires_at > now()';

const SQL = {
  insert: {
    name: 'initial_access_insert',
    text: `INSERT INTO initial_access_tokens (id, token_hash, note, max_uses, allowed, require_pkce, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7)) RETURNING ${COLUMNS}`,
  },
  list: {
    name: 'initial_access_list',
    text: `SELECT ${COLUMNS} FROM initial_access_tokens WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2`,
  },
  find: { name: 'initial_access_find', text: `SELECT ${COLUMNS} FROM initial_access_tokens WHERE ${IS_USABLE}` },
  remove: { name: 'initial_access_remove', text: 'DELETE FROM initial_access_tokens WHERE id = $1' },
  // The condition and the count are one statement: concurrent registrations get no more uses than
  // are left.
  use: {
    name: 'initial_access_use',
    text: `UPDATE initial_access_tokens SET uses = uses + 1 WHERE ${IS_USABLE}`,
  },
};

function toToken(row: Row): InitialAccessToken {
  return {
    id: row.id,
    note: row.note,
    maxUses: row.max_uses,
    uses: row.uses,
    allowed: row.allowed,
    // Of one that is older than the column too.
    requirePkce: row.require_pkce ?? true,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
  };
}

export interface NewInitialAccessToken {
  readonly note: string;
  readonly maxUses: number;
  readonly expiresInSeconds: number;
  readonly allowed: AllowedRegistration;
  readonly requirePkce: boolean;
}

/** @returns the token with its row; only its hash is stored */
export function createInitialAccessToken(
  database: Database,
  input: NewInitialAccessToken,
  by: ChangedBy,
): Promise<{ token: string; row: InitialAccessToken }> {
  const token = `lyi_${randomBytes(32).toString('base64url')}`;
  const id = randomBytes(12).toString('base64url');
  return database.transaction(async (query) => {
    const { note, maxUses, allowed, requirePkce, expiresInSeconds } = input;
    const values = [id, hashToken(token), note, maxUses, JSON.stringify(allowed), requirePkce, expiresInSeconds];
    const row = toToken(oneRow(await query<Row>(SQL.insert, values)));
    const detail = { initial_access_token: id, max_uses: maxUses, require_pkce: requirePkce };
    await recordAudit(query, { type: 'initial_access_token.created', ...by, detail });
    return { token, row };
  });
}

/** @returns up to `limit` + 1 */
export async function listInitialAccessTokens(
  query: Query,
  page: { after: string | undefined; limit: number },
): Promise<InitialAccessToken[]> {
  const { rows } = await query<Row>(SQL.list, [page.after ?? null, page.limit + 1]);
  return rows.map(toToken);
}

export function removeInitialAccessToken(database: Database, id: string, by: ChangedBy): Promise<void> {
  return database.transaction(async (query) => {
    if ((await query(SQL.remove, [id])).rowCount !== 1) throw notFound(`initial access token ${id}`);
    await recordAudit(query, { type: 'initial_access_token.removed', ...by, detail: { initial_access_token: id } });
  });
}

/** @returns undefined if the token is unknown, expired or has no uses left */
export async function findInitialAccessToken(query: Query, token: string): Promise<InitialAccessToken | undefined> {
  const { rows } = await query<Row>(SQL.find, [hashToken(token)]);
  return rows[0] && toToken(rows[0]);
}

/** Counts one use. @returns false if the token was removed, has expired or has no uses left */
export async function useInitialAccessToken(query: Query, token: string): Promise<boolean> {
  return (await query(SQL.use, [hashToken(token)])).rowCount === 1;
}

export function hashToken(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}
