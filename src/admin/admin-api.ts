// The admin API: the guard and the routes of all features behind it, put together. This folder owns
// the guard, the OpenAPI document, the session routes and the first admin client; each other
// resource keeps its routes in its own folder.

import { auditRoutes } from '../audit/routes.ts';
import { OPENID_SCOPES } from '../clients/client.ts';
import type { Clients } from '../clients/clients.ts';
import { initialAccessRoutes } from '../clients/registration/initial-access-token-routes.ts';
import { clientRoutes } from '../clients/routes.ts';
import { clientSecretRoutes } from '../clients/secret-routes.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { KeyFollower } from '../keys/follow-keys.ts';
import type { KeyRotation } from '../keys/rotation.ts';
import { keyRoutes } from '../keys/routes.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { PasswordHasher } from '../password-hash.ts';
import type { ReadClientCertificate } from '../provider/clients/mutual-tls.ts';
import type { Engine } from '../provider/engine.ts';
import type { LogoutNotices } from '../provider/logout/logout-notices.ts';
import { createSessions } from '../provider/logout/sessions.ts';
import { removeArtifactsOfAccount } from '../provider/storage/artifacts.ts';
import type { DeclaredTypes } from '../resource-servers/declared-types.ts';
import { clientGrantRoutes } from '../resource-servers/grant-routes.ts';
import { createResourceServers } from '../resource-servers/resource-servers.ts';
import { resourceServerRoutes } from '../resource-servers/routes.ts';
import { userRoutes } from '../users/routes.ts';
import { createUsers } from '../users/users.ts';
import { adminAudience, createAdminGuard } from './admin-guard.ts';
import { sessionRoutes } from './session-routes.ts';

export interface AdminApiDeps {
  readonly config: Pick<Config, 'issuer' | 'lifetimes'>;
  readonly database: Database;
  readonly engine: Engine;
  readonly clients: Clients;
  readonly keys: KeyFollower;
  readonly keyRotation: KeyRotation;
  readonly detailsTypes: DeclaredTypes;
  readonly logoutNotices: LogoutNotices;
  readonly passwords: PasswordHasher;
  readonly readClientCertificate: ReadClientCertificate | undefined;
  readonly metrics: Metrics;
  readonly log: Log;
}

export function adminApi(deps: AdminApiDeps) {
  const { database, engine, clients, passwords, keys, keyRotation, detailsTypes } = deps;
  const { query } = database;
  const { issuer, lifetimes } = deps.config;
  const resourceServers = createResourceServers({
    database,
    adminAudience: adminAudience(issuer),
    reservedScopes: OPENID_SCOPES,
  });
  const sessions = createSessions({
    database,
    directory: engine.directory,
    notices: deps.logoutNotices,
    sessionSeconds: lifetimes.sessionSeconds,
  });
  const users = createUsers({
    database,
    passwords,
    async removeArtifacts(transaction, accountId) {
      await sessions.notifyAll(transaction, accountId);
      return removeArtifactsOfAccount(transaction, accountId);
    },
  });
  return {
    guard: createAdminGuard({ ...deps, issuer, query }),
    routes: [
      ...clientRoutes({ query, clients }),
      ...clientSecretRoutes({ query, clients }),
      ...initialAccessRoutes({ database }),
      ...resourceServerRoutes({ query, resourceServers, detailsTypes }),
      ...clientGrantRoutes({ query, resourceServers }),
      ...userRoutes({ query, users }),
      ...sessionRoutes({ query, sessions }),
      // The change is made by then: when the keys cannot be read now, the next request reads them.
      ...keyRoutes({ query, rotation: keyRotation, refresh: () => keys.refresh().catch(() => {}) }),
      ...auditRoutes({ query }),
    ],
  };
}
