// The guard of the operators' door: our own guard library on our own tokens. Instead of the network it asks the engine's side
// directly, so that a revoked token, a disabled client or a policy row that was taken away counts at once here too.

import type { IncomingMessage } from 'node:http';
import type { Query } from '../database/database.ts';
import type { HttpRequestLike } from '../guard/credentials.ts';
import { createGuard, type Guard } from '../guard/guard.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { ReadClientCertificate } from '../provider/clients/mutual-tls.ts';
import type { Engine } from '../provider/engine.ts';
import { findTokenStatus } from '../provider/policy/token-status.ts';
import { useOnce } from '../provider/storage/replay-store.ts';
import { listGrants } from '../resource-servers/store.ts';

export const ADMIN_SCOPES = ['admin:read', 'admin:write'] as const;

/** More clients than that have no business with the admin API. */
const MAX_ADMIN_CLIENTS = 1000;

export function adminAudience(issuer: string): string {
  return `${issuer}/admin`;
}

export interface AdminGuardDeps {
  readonly issuer: string;
  readonly query: Query;
  readonly engine: Engine;
  /** undefined: clients cannot present certificates here */
  readonly readClientCertificate: ReadClientCertificate | undefined;
  readonly metrics: Pick<Metrics, 'refused'>;
  readonly log: Log;
}

export function createAdminGuard(deps: AdminGuardDeps): Guard {
  const { query, engine } = deps;
  const audience = adminAudience(deps.issuer);

  async function verify(token: string): Promise<Record<string, unknown> | undefined> {
    const claims = await engine.jwtAccessTokens.verify(token);
    // Whoever administers acts in person: no token that was handed on is looked at, whatever the row of this API says.
    if (claims === undefined || claims.lanyard_origin !== undefined) return undefined;
    const standing = await findTokenStatus(engine.directory, {
      clientId: claims.client_id,
      accountId: claims.accountId,
      audiences: [audience],
      issuedAt: claims.iat,
    });
    if (standing === undefined) return undefined;
    const scope = (claims.scope ?? '').split(' ').filter((name) => standing.allowedScopes?.has(name));
    return { ...claims, scope: scope.join(' ') };
  }

  return createGuard({
    issuer: deps.issuer,
    audience,
    // The policy rows of the admin API are its allow-list.
    clients: async () => {
      const grants = await listGrants(query, audience, { after: undefined, limit: MAX_ADMIN_CLIENTS });
      return grants.map((grant) => grant.clientId);
    },
    mode: { verify },
    // Of all nodes and processes, not of this one.
    dpop: { replayStore: { useOnce: (id, expiresAt) => useOnce(query, ['admin', id], expiresAt.getTime() / 1000) } },
    ...(deps.readClientCertificate === undefined
      ? {}
      : { clientCertificate: certificateBy(deps.readClientCertificate) }),
    realm: 'lanyard-admin',
    onRefusal({ code, reason, cause }) {
      deps.metrics.refused('admin', code);
      if (code === 'temporarily_unavailable')
        deps.log.error({ error: cause, reason }, 'the admin guard could not judge');
      else deps.log.info({ endpoint: 'admin', oauth_error: code, reason }, 'refused');
    },
  });
}

function certificateBy(read: ReadClientCertificate): (request: HttpRequestLike) => Uint8Array | undefined {
  return (request) => read(request as IncomingMessage)?.certificate.raw;
}
