// What the engine learns about a user: that it exists and is enabled, and its standard claims.

import type { Account, FindAccount } from 'oidc-provider';
import type { Query } from '../database/database.ts';
import { findUser } from '../users/store.ts';
import { standardClaims } from '../users/user.ts';

/** Configuration `findAccount`. A disabled user is no user: refresh, userinfo and sessions end. */
export function createFindAccount(query: Query): FindAccount {
  return async (_ctx, accountId): Promise<Account | undefined> => {
    const user = await findUser(query, accountId);
    if (user === undefined || user.disabledAt !== undefined) return undefined;
    return { accountId: user.id, claims: () => standardClaims(user) };
  };
}
