// Finds many users with one statement: what the engine and introspection need to know of them at
// every request.

import type { Query } from '../database/database.ts';
import { toUser, USER_COLUMNS, type UserRow } from './store.ts';
import type { User } from './user.ts';

export interface CachedUser extends User {
  /** what was issued before is void; milliseconds since 1970 */
  readonly tokensNotBefore: number;
}

const LOOKUP = {
  name: 'user_lookup',
  text: `SELECT ${USER_COLUMNS}, tokens_not_before FROM users WHERE id = ANY($1)`,
};

/** @returns one entry for each id, in their order; undefined for a user that does not exist */
export async function lookUpUsers(query: Query, userIds: readonly string[]): Promise<(CachedUser | undefined)[]> {
  const { rows } = await query<UserRow & { tokens_not_before: Date | null }>(LOOKUP, [userIds]);
  const found = new Map<string, CachedUser>();
  for (const row of rows) {
    found.set(row.id, {
      ...toUser(row),
      tokensNotBefore: row.tokens_not_before?.getTime() ?? Number.NEGATIVE_INFINITY,
    });
  }
  return userIds.map((userId) => found.get(userId));
}
