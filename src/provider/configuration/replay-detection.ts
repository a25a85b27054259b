// What may be presented once: the insert decides, and it is committed whatever becomes of the request around it.

import Provider from 'oidc-provider';
import type { Query } from '../../database/database.ts';
import { useOnce } from '../storage/replay-store.ts';
import { refuseReplayedProof } from './dpop.ts';

/** The engine looks first and stores later; our insert decides in one statement. (RFC 7523 §3, jti; RFC 9449 §11.1) */
export function detectReplays(provider: Provider, query: Query): void {
  provider.ReplayDetection.unique = async (iss, jti, exp) => {
    const isFirst = await useOnce(query, [iss, jti], exp);
    if (!isFirst) refuseReplayedProof(Provider.ctx, jti);
    return isFirst;
  };
}
