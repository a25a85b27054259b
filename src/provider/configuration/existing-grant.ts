// Consent is stored per client and scope for as long as the user exists: a user who has allowed
// something is not asked again, in another browser or after signing out. The engine knows only the
// Grant of the current session.

import type { Grant, KoaContextWithOIDC } from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import { spellings } from '../../resource-servers/resource-server.ts';
import { findConsents } from '../../users/store.ts';

/**
 * Configuration `loadExistingGrant`: the grant of this session, otherwise a new one with what was
 * allowed before.
 */
export function createLoadExistingGrant(query: Query) {
  return async (ctx: KoaContextWithOIDC): Promise<Grant | undefined> => {
    const { client, account, session, provider, result } = ctx.oidc;
    if (client === undefined || account === undefined) return undefined;
    const grantId = result?.consent?.grantId ?? session?.grantIdFor(client.clientId);
    const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
    // Two users of one browser may use the same session one after the other; the grant of the first
    // is not the second's.
    if (existing !== undefined && existing.accountId === account.accountId) return existing;

    const consents = await findConsents(query, account.accountId, client.clientId);
    if (consents.size === 0) return undefined;
    const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
    for (const [resourceServer, scopes] of consents) {
      if (resourceServer === '') grant.addOIDCScope(scopes.join(' '));
      else for (const spelling of spellings(resourceServer)) grant.addResourceScope(spelling, scopes.join(' '));
    }
    await grant.save();
    return grant;
  };
}
