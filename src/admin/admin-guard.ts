// The guard of the admin API: our own guard library on our own tokens. It verifies them in this
// process instead of over the network, so that a revoked token, a disabled client or a removed
// policy row is refused at once.

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
import { listGrants } from '../resource-servers/grant-store.ts';

export const ADMIN_SCOPES = ['admin:read', 'admin:write'] as const;

/** The number of clients that may call the admin API. */
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
    // No exchanged token (RFC 8693) is accepted, whatever the delegation rule of this API says:
    // operators act themselves.
    if (claims === undefined || claims.lanyard_origin !== undefined) return undefined;
    const status = await findTokenStatus(engine.directory, {
      clientId: claims.client_id,
      accountId: claims.accountId,
      audiences: [audience],
      issuedAt: claims.iat,
    });
    if (status === undefined) return undefined;
    const scope = (claims.scope ?? '').split(' ').filter((name) => status.allowedScopes?.has(name));
    return { ...claims, scope: scope.join(' ') };
  }

  return createGuard({
    issuer: deps.issuer,
    audience,
    // The clients of its policy rows may call the admin API.
    clients: async () => {
      const grants = await listGrants(query, audience, { after: undefined, limit: MAX_ADMIN_CLIENTS });
      return grants.map((grant) => grant.clientId);
    },
    mode: { verify },
    // In the database: a proof that was used at one process is refused at all others too.
    dpop: { replayStore: { useOnce: (id, expiresAt) => useOnce(query, ['admin', id], expiresAt.getTime() / 1000) } },
    ...(deps.readClientCertificate === undefined
      ? {}
      : { clientCertificate: certificateBy(deps.readClientCertificate) }),
    realm: 'lanyard-admin',
    metadata: { name: 'Lanyard admin API', scopesSupported: [...ADMIN_SCOPES] },
    onRefusal({ code, reason, cause }) {
      deps.metrics.refused('admin', code);
      if (code === 'temporarily_unavailable')
        deps.log.error({ error: cause, reason }, 'the admin guard could not verify a token');
      else deps.log.info({ endpoint: 'admin', oauth_error: code, reason }, 'refused');
    },
  });
}

function certificateBy(read: ReadClientCertificate): (request: HttpRequestLike) => Uint8Array | undefined {
  return (request) => read(request as IncomingMessage)?.certificate.raw;
}
