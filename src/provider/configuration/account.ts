// What the engine gets of a user: that it exists and is enabled, and its standard claims.

import type { Account, FindAccount } from 'oidc-provider';
import { standardClaims } from '../../users/user.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';

/**
 * Configuration `findAccount`. A disabled user does not exist for the engine: refresh, userinfo and
 * sessions end. Nor does one whose sessions were ended after the password was checked, while the
 * browser was on its way from the login page.
 */
export function createFindAccount(directory: Directory): FindAccount {
  return async (ctx, accountId, token): Promise<Account | undefined> => {
    const user = await directory.findUser(accountId);
    if (user === undefined || user.isDisabled) return undefined;
    const issuedAt = token === undefined ? ctx.oidc.session?.loginTs : undefined;
    if (issuedAt !== undefined && !(await isNotRevoked(directory, { clientId: undefined, accountId, issuedAt }))) {
      return undefined;
    }
    return { accountId: user.id, claims: () => standardClaims(user) };
  };
}
