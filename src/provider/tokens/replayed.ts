// A code or rotating refresh token that was used before and comes back ends what came of it (RFC 6749 §4.1.2, RFC 9700 §4.14.2).

import { recordAudit } from '../../audit/audit.ts';
import type { Database } from '../../database/database.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { findGrantOf, removeGrant } from '../storage/artifacts.ts';

export interface Replay {
  readonly model: string;
  readonly artifactId: Buffer;
  readonly requestId: string | undefined;
}

export type RevokeReplayed = (replay: Replay) => Promise<void>;

/** One transaction, committed before the answer: the grant is not removed without its audit event. */
export function createRevokeReplayed(deps: {
  readonly database: Pick<Database, 'transaction'>;
  readonly metrics: Pick<Metrics, 'tokenReplayed'>;
}): RevokeReplayed {
  return async ({ model, artifactId, requestId }) => {
    deps.metrics.tokenReplayed(model);
    await deps.database.transaction(async (query) => {
      const grant = await findGrantOf(query, model, artifactId);
      if (grant === undefined) return;
      await removeGrant(query, grant.grantId);
      await recordAudit(query, {
        type: 'token.replayed',
        actor: 'system',
        requestId,
        clientId: grant.clientId,
        accountId: grant.accountId,
        detail: { kind: model },
      });
    });
  };
}
