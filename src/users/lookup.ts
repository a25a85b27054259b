// Finds many users with one statement: what the engine and the introspection policy need to know of them at every request.

import type { Query } from '../database/database.ts';
import type { UserClaims } from './user.ts';

export interface CachedUser {
  readonly id: string;
  readonly username: string;
  readonly email: string | undefined;
  readonly claims: UserClaims;
  readonly updatedAt: Date;
  readonly isDisabled: boolean;
  /** what was issued before is void; milliseconds since 1970 */
  readonly tokensNotBefore: number;
}

interface Row {
  id: string;
  username: string;
  email: string | null;
  claims: UserClaims;
  updated_at: Date;
  is_disabled: boolean;
  tokens_not_before: Date | null;
}

const LOOKUP = {
  name: 'user_lookup',
  text: `SELECT id, username, email, claims, updated_at, disabled_at IS NOT NULL AS is_disabled, tokens_not_before
         FROM users WHERE id = ANY($1)`,
};

/** @returns one entry for each id, in their order; undefined for a user that does not exist */
export async function lookUpUsers(query: Query, userIds: readonly string[]): Promise<(CachedUser | undefined)[]> {
  const { rows } = await query<Row>(LOOKUP, [userIds]);
  const found = new Map(rows.map((row) => [row.id, toCachedUser(row)]));
  return userIds.map((userId) => found.get(userId));
}

function toCachedUser(row: Row): CachedUser {
  return {
    id: row.id,
    username: row.username,
    email: row.email ?? undefined,
    claims: row.claims,
    updatedAt: row.updated_at,
    isDisabled: row.is_disabled,
    tokensNotBefore: row.tokens_not_before?.getTime() ?? Number.NEGATIVE_INFINITY,
  };
}
