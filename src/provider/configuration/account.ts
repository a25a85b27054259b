// What the engine gets of a user: that it exists and is enabled, and its standard claims.

import type { Account, FindAccount } from 'oidc-provider';
import { standardClaims } from '../../users/user.ts';
import type { Directory } from '../policy/directory.ts';

/**
 * Configuration `findAccount`. A disabled user does not exist for the engine: refresh, userinfo and
 * sessions end.
 */
export function createFindAccount(directory: Directory): FindAccount {
  return async (_ctx, accountId): Promise<Account | undefined> => {
    const user = await directory.findUser(accountId);
    if (user === undefined || user.isDisabled) return undefined;
    return { accountId: user.id, claims: () => standardClaims(user) };
  };
}
