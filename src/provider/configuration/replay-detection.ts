// What may be presented once. The INSERT decides, and it is committed even if the request fails
// later.

import type Provider from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import { currentContext, overrideMethod } from '../engine-internals.ts';
import type { WriteBudget } from '../policy/write-budget.ts';
import { useOnce } from '../storage/replay-store.ts';
import { refuseReplayedProof } from './dpop.ts';

/**
 * The engine looks first and stores later, so two requests at once would both pass. (RFC 7523 §3,
 * jti; RFC 9449 §11.1)
 */
export function detectReplays(provider: Provider, query: Query, writeBudget: WriteBudget): void {
  overrideMethod(provider, 'ReplayDetection.unique', () => async (iss, jti, exp) => {
    const { client, route } = currentContext()?.oidc ?? {};
    // Elsewhere a proof is counted when a token or a grant has been shown with it.
    const isAnonymous = client?.clientAuthMethod === 'none' && route === 'pushed_authorization_request';
    if (isAnonymous) writeBudget.charge(client.clientId);
    const isFirst = await useOnce(query, [iss, jti], exp);
    if (!isFirst) refuseReplayedProof(currentContext(), jti);
    return isFirst;
  });
}
