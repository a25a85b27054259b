// createServer: the Koa app and the only list of mounts, in order. Tests start exactly this.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type Router from '@koa/router';
import Koa from 'koa';
import { adminAudience, createAdminGuard } from './admin/admin-guard.ts';
import { adminRoutes } from './admin/routes.ts';
import { sessionRoutes } from './admin/session-routes.ts';
import { auditRoutes } from './audit/routes.ts';
import { clientCertificates } from './client-certificates.ts';
import { initialAccessRoutes } from './clients/initial-access-routes.ts';
import { type Clients, createClients } from './clients/register.ts';
import { registrationRoutes } from './clients/registration-routes.ts';
import { clientRoutes } from './clients/routes.ts';
import { createSecretVerifier } from './clients/secret.ts';
import { clientSecretRoutes } from './clients/secret-routes.ts';
import { createSelfRegistrations } from './clients/self-registration.ts';
import type { Config } from './config.ts';
import { toPeerCheck } from './config-values.ts';
import type { Database } from './database/database.ts';
import { AppError } from './errors.ts';
import { createEntrance, type Entrance } from './http/entrance.ts';
import { healthRoutes } from './http/health.ts';
import { securityHeaders } from './http/security-headers.ts';
import { enginePages } from './interaction/engine-pages.ts';
import { interactionRoutes } from './interaction/routes.ts';
import type { KeyFollower } from './keys/follow-keys.ts';
import type { KeyRotation } from './keys/rotation.ts';
import { keyRoutes } from './keys/routes.ts';
import type { Log } from './log.ts';
import { createEndpointFinder } from './metrics/endpoints.ts';
import type { Metrics } from './metrics/metrics.ts';
import { metricsRoutes } from './metrics/routes.ts';
import type { Outbound } from './outbound/outbound.ts';
import type { PasswordHasher } from './password-hash.ts';
import { removeArtifactsOfAccount, removeArtifactsOfClient } from './provider/artifacts.ts';
import { assertLoadable, assertSector } from './provider/client-schema.ts';
import type { LogoutNotices } from './provider/logout-notices.ts';
import { ROUTES } from './provider/protocol.ts';
import { createEngine, type Engine } from './provider/provider.ts';
import { createSessions } from './provider/sessions.ts';
import { clientGrantRoutes } from './resource-servers/grant-routes.ts';
import { createResourceServers } from './resource-servers/policy.ts';
import { resourceServerRoutes } from './resource-servers/routes.ts';
import { createAccounts } from './users/accounts.ts';
import { createPasswordCheck } from './users/password.ts';
import { userRoutes } from './users/routes.ts';
import { createGuessThrottle, createLoginThrottle } from './users/throttle.ts';

export interface ServerDeps {
  readonly config: Pick<
    Config,
    'issuer' | 'trustedProxies' | 'lifetimes' | 'loginThrottle' | 'metrics' | 'registration' | 'tls' | 'mutualTls'
  >;
  readonly database: Database;
  readonly keys: KeyFollower;
  readonly keyRotation: KeyRotation;
  readonly dpopNonceSecret: Buffer;
  readonly pairwiseSalt: string;
  readonly artifactKey: Buffer;
  readonly outbound: Outbound;
  readonly logoutNotices: LogoutNotices;
  readonly passwords: PasswordHasher;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly version: string;
}

/** Of one address, when anybody may register. */
const OPEN_REGISTRATIONS = { attempts: 20, windowSeconds: 3600 };

export interface Server {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  readonly engine: Engine;
  /** From now on /health/ready says no: whoever balances the load should send new requests elsewhere. */
  drain(): void;
}

export async function createServer(deps: ServerDeps): Promise<Server> {
  const { config, database, passwords, metrics, log } = deps;
  const { issuer } = config;
  const isTrusted = toPeerCheck(config.trustedProxies);
  const takesCertificates = config.tls !== undefined || config.mutualTls.header !== undefined;
  // The engine is an app of its own beside ours: what every request passes first, both have.
  const entrance = createEntrance({
    log,
    metrics,
    endpointOf: createEndpointFinder(ROUTES),
    origins: [issuer, ...[config.mutualTls.origin ?? []].flat()],
    isTrusted,
    securityHeaders: await securityHeaders({ isHttps: issuer.startsWith('https:') }),
  });
  const { keys } = deps;
  const secretVerifier = createSecretVerifier(passwords);
  const engineDeps = {
    entrance,
    config,
    database,
    dpopNonceSecret: deps.dpopNonceSecret,
    pairwiseSalt: deps.pairwiseSalt,
    artifactKey: deps.artifactKey,
    fetch: deps.outbound.fetch,
    logoutNotices: deps.logoutNotices,
    readClientCertificate: takesCertificates
      ? clientCertificates({ header: config.mutualTls.header, isTrusted })
      : undefined,
    secretVerifier,
    pages: enginePages({ query: database.query, log }),
    metrics,
    log,
  };
  const engine = createEngine(engineDeps, keys.current());
  keys.onChange(engine.useKeys);

  let isDraining = false;
  const app = new Koa({ proxy: true });
  // What reaches this went wrong while an answer was already on its way.
  app.on('error', (error) => log.warn({ error }, 'an answer broke off'));
  for (const middleware of entrance.middlewares) app.use(middleware);

  mount(
    app,
    healthRoutes(async () => !isDraining && (await isDatabaseUp(database))),
  );
  if (config.metrics.isOnPublicPort) mount(app, metricsRoutes(metrics));
  const clients = createClients({
    database,
    passwords,
    assertLoadable: (clientId, metadata) => assertLoadable(engine.provider, clientId, metadata),
    assertSector: (clientId, metadata) => assertSector(engine.provider, clientId, metadata),
    removeArtifacts: removeArtifactsOfClient,
  });
  mount(app, adminRoutes({ ...deps, ...adminDoor(deps, engine, clients), issuer, changes: database.changes }));
  mount(
    app,
    registrationRoutes({
      issuer,
      registrations: createSelfRegistrations({ query: database.query, clients, secretVerifier }),
      isOpen: config.registration.isOpen,
      throttle: createGuessThrottle(database.pool, 'registration', OPEN_REGISTRATIONS),
      changes: database.changes,
      log,
    }),
  );
  mount(
    app,
    interactionRoutes({
      database,
      engine,
      issuer,
      log,
      passwordCheck: createPasswordCheck(passwords),
      throttle: createLoginThrottle(database.pool, config.loginThrottle),
      metrics,
    }),
  );
  return {
    handler: byDoor(entrance, { engine: engine.handler, others: app.callback() }),
    engine,
    drain() {
      isDraining = true;
    },
  };
}

function mount(app: Koa, router: Router): void {
  app.use(router.routes());
  app.use(
    router.allowedMethods({
      throw: true,
      methodNotAllowed: () => new AppError('method_not_allowed', 'use another method'),
      notImplemented: () => new AppError('method_not_allowed', 'use another method'),
    }),
  );
}

function adminDoor(deps: ServerDeps, engine: Engine, clients: Clients) {
  const { database, passwords, metrics, log, keys, keyRotation } = deps;
  const { query } = database;
  const { issuer } = deps.config;
  const resourceServers = createResourceServers({ database, adminAudience: adminAudience(issuer) });
  const sessions = createSessions({ database, directory: engine.directory, notices: deps.logoutNotices });
  const accounts = createAccounts({
    database,
    passwords,
    async removeArtifacts(transaction, accountId) {
      await sessions.notifyAll(transaction, accountId);
      return removeArtifactsOfAccount(transaction, accountId);
    },
  });
  return {
    guard: createAdminGuard({ issuer, query, engine, metrics, log }),
    routes: [
      ...clientRoutes({ query, clients }),
      ...clientSecretRoutes({ query, clients }),
      ...initialAccessRoutes({ database }),
      ...resourceServerRoutes({ query, resourceServers }),
      ...clientGrantRoutes({ query, resourceServers }),
      ...userRoutes({ query, accounts }),
      ...sessionRoutes({ query, sessions }),
      ...keyRoutes({ query, rotation: keyRotation, refresh: keys.refresh }),
      ...auditRoutes({ query }),
    ],
  };
}

/** RFC 9112 §3.2.2: a request may name its target as an absolute URL. */
const OAUTH_DOOR = /^(https?:\/\/[^/]*)?\/(oauth2(?!\/register(?:[/?]|$))|\.well-known)\//i;

/** The engine answers for its own paths with its own errors; it takes the request as Node hands it over. */
function byDoor(
  entrance: Entrance,
  doors: { engine: Server['handler']; others: Server['handler'] },
): Server['handler'] {
  return (request, response) => {
    const isForUs = entrance.admit(request, response);
    if (isForUs && OAUTH_DOOR.test(request.url ?? '')) return doors.engine(request, response);
    entrance.dress(request, response);
    doors.others(request, response);
  };
}

async function isDatabaseUp(database: Database): Promise<boolean> {
  return database.query({ name: 'ready', text: 'SELECT 1' }, []).then(
    () => true,
    () => false,
  );
}
