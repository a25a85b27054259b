// Revocation (RFC 7009). For a token of another client the answer is 200 and nothing happens: it does
// not reveal that the token exists. What is removed and its audit event are one transaction, which is
// committed before the answer is sent.

import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import { recordAudit } from '../../audit/audit.ts';
import { mayRevoke } from '../../client-binding.ts';
import type { Database, Query } from '../../database/database.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { artifactId, destroyArtifact, removeGrant } from '../storage/artifacts.ts';
import { tokenEvent } from '../storage/token-event.ts';
import { findIssuedToken, type IssuedToken, type IssuedTokenDeps } from './find-token.ts';
import { revokeJwt } from './jwt-access-tokens.ts';
import { modelByPrefix } from './token-prefixes.ts';

export interface RevocationDeps extends IssuedTokenDeps {
  readonly database: Pick<Database, 'transaction'>;
  readonly metrics: Pick<Metrics, 'tokenRevoked'>;
}

/** The last step of the endpoint; the caller has authenticated. */
export function createRevocation(deps: RevocationDeps): (ctx: KoaContextWithOIDC) => Promise<void> {
  return async (ctx) => {
    const { client, params } = ctx.oidc;
    await revoke(deps, client as Client, String(params?.token), ctx.get('x-request-id'));
    // RFC 7009 §2.2: the status says everything. Libraries refuse a type that is not JSON, which Koa would set.
    ctx.status = 200;
    ctx.body = '';
    ctx.remove('Content-Type');
  };
}

async function revoke(deps: RevocationDeps, caller: Client, value: string, requestId: string): Promise<void> {
  const token = await findIssuedToken(deps, value);
  if (token === undefined || !mayRevoke(caller.clientId, token.clientId ?? '')) return;
  const reported = { ...token, format: isOpaque(value) ? 'opaque' : 'jwt' };
  const isRevoked = await deps.database.transaction(async (query) => {
    // Another request may have been faster: its event is there.
    if (!(await end(query, token, value))) return false;
    await recordAudit(query, { ...tokenEvent('token.revoked', reported), requestId });
    return true;
  });
  if (isRevoked) deps.metrics.tokenRevoked(reported);
}

function isOpaque(value: string): boolean {
  return modelByPrefix(value) !== undefined;
}

/** RFC 7009 §2.1: a refresh token is revoked with its grant, an access token alone. */
function end(query: Query, token: IssuedToken, value: string): Promise<boolean> {
  if (!isOpaque(value)) return revokeJwt(query, token);
  if (token.kind === 'RefreshToken' && token.grantId !== undefined) {
    return removeGrant(query, artifactId('Grant', token.grantId));
  }
  return destroyArtifact(query, token.kind, artifactId(token.kind, value));
}
