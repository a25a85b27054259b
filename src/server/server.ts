// The HTTP server: the Koa app and the only list of what is mounted, in order. This folder owns listeners and their shutdown;
// what is answered belongs to the features. process/ starts it, tests start exactly this.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type Router from '@koa/router';
import Koa from 'koa';
import { adminApi } from '../admin/admin-api.ts';
import { adminAudience } from '../admin/admin-guard.ts';
import { ADMIN_CLIENT_ID } from '../admin/first-start.ts';
import { adminRoutes } from '../admin/routes.ts';
import type { CountedEvents } from '../audit/counted-events.ts';
import { createClients } from '../clients/clients.ts';
import { registrationRoutes } from '../clients/registration/registration-routes.ts';
import { reservedNames } from '../clients/registration/reserved-names.ts';
import { createSelfRegistrations } from '../clients/registration/self-registration.ts';
import { createSecretVerifier, type SecretVerifier } from '../clients/secret.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { Guard } from '../guard/guard.ts';
import { toPeerCheck } from '../guard/peer-check.ts';
import { healthRoutes, LIVENESS } from '../http/health.ts';
import { createRequestPrelude, type RequestPrelude } from '../http/request-prelude.ts';
import { securityHeaders } from '../http/security-headers.ts';
import { enginePages } from '../interaction/engine-pages.ts';
import { logoRoutes } from '../interaction/logo-routes.ts';
import { createLogos, type Logos } from '../interaction/logos.ts';
import { interactionRoutes } from '../interaction/routes.ts';
import { startRoutes } from '../interaction/start-routes.ts';
import type { KeyFollower } from '../keys/follow-keys.ts';
import type { KeyRotation } from '../keys/rotation.ts';
import type { Log } from '../log.ts';
import { createEndpointFinder } from '../metrics/endpoints.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { metricsRoutes } from '../metrics/routes.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { BoundedPasswordHasher, PasswordHasher } from '../password-hash.ts';
import { clientCertificates } from '../provider/clients/client-certificate.ts';
import { assertLoadable, assertSector, subjectsOf } from '../provider/clients/engine-metadata.ts';
import type { ReadClientCertificate } from '../provider/clients/mutual-tls.ts';
import { createEngine, type Engine } from '../provider/engine.ts';
import type { LogoutNotices } from '../provider/logout/logout-notices.ts';
import { ROUTES } from '../provider/routes.ts';
import { removeArtifactsOfClient } from '../provider/storage/artifacts.ts';
import type { DeclaredTypes } from '../resource-servers/declared-types.ts';
import { createPasswordCheck } from '../users/password.ts';
import * as throttles from '../users/throttle.ts';
import { createPublicDocuments, type PublicDocument, type PublicDocuments } from './public-documents.ts';
import type { Readiness } from './readiness.ts';

export interface ServerDeps {
  readonly config: Pick<
    Config,
    | 'issuer'
    | 'trustedProxies'
    | 'lifetimes'
    | 'loginThrottle'
    | 'limits'
    | 'metrics'
    | 'registration'
    | 'tls'
    | 'mutualTls'
    | 'keySchedule'
  >;
  readonly database: Database;
  readonly keys: KeyFollower;
  readonly keyRotation: KeyRotation;
  readonly detailsTypes: DeclaredTypes;
  readonly dpopNonceSecret: Buffer;
  readonly pairwiseSalt: string;
  readonly artifactKey: Buffer;
  readonly readiness: Pick<Readiness, 'reason'>;
  readonly outbound: Outbound;
  readonly logoutNotices: LogoutNotices;
  /** of users */
  readonly passwords: PasswordHasher;
  /** with a queue of its own */
  readonly clientSecrets: BoundedPasswordHasher;
  readonly countedEvents: CountedEvents;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly version: string;
}

/** What was taken away in an emergency stays in caches for so long. */
const MAX_AGE_SECONDS = 60;
const JSON_TYPE = 'application/json; charset=utf-8';

export interface Server {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  readonly engine: Engine;
}

interface Parts extends ServerDeps {
  readonly engine: Engine;
  readonly logos: Logos;
  readonly secretVerifier: SecretVerifier;
  /** undefined: clients cannot present certificates here */
  readonly readClientCertificate: ReadClientCertificate | undefined;
}

export async function createServer(deps: ServerDeps): Promise<Server> {
  const { config, database, keys, log } = deps;
  const isTrusted = toPeerCheck(config.trustedProxies);
  const prelude = await createPrelude(deps, isTrusted);
  const { header } = config.mutualTls;
  const takesCertificates = config.tls !== undefined || header !== undefined;
  const readClientCertificate = takesCertificates ? clientCertificates({ header, isTrusted }) : undefined;
  const secretVerifier = verifierOfSecrets(deps);
  const { fetch } = deps.outbound;
  const logos = createLogos({ fetch, log });
  const pages = enginePages({ query: database.query, logos, log });
  // The engine is an app of its own beside ours: both begin with the prelude.
  const adminApi = { identifier: adminAudience(config.issuer), clientId: ADMIN_CLIENT_ID };
  const engineDeps = { ...deps, prelude, adminApi, fetch, readClientCertificate, secretVerifier, pages };
  const first = keys.current();
  const engine = await createEngine(engineDeps, first);
  const parts = { ...deps, engine, secretVerifier, readClientCertificate, logos };
  const admin = createAdminApi(parts);
  const documents = createPublicDocuments(prelude.rawHeaders);
  const publish = () => documents.publish(publicDocuments(config, engine, admin.guard));
  // They may have changed while the engine was made.
  if (keys.current() !== first) engine.useKeys(keys.current());
  publish();
  keys.onChange((changed) => {
    engine.useKeys(changed);
    publish();
  });
  deps.detailsTypes.onChange(publish);

  const app = new Koa();
  prelude.attachTo(app);
  // An error that reaches this came after the answer had begun.
  app.on('error', (error) => log.warn({ error }, 'an answer broke off'));
  for (const middleware of prelude.middlewares) app.use(middleware);
  mount(app, healthRoutes(deps.readiness.reason));
  if (config.metrics.isOnPublicPort) mount(app, metricsRoutes(deps.metrics));
  app.use(async (ctx, next) => {
    ctx.state.judgedAt = await database.changes.current();
    await next();
  });
  for (const router of routers(parts, admin)) mount(app, router);
  return {
    handler: dispatch(prelude, documents, { engine: engine.handler, others: app.callback() }),
    engine,
  };
}

function verifierOfSecrets({ config, database, clientSecrets, countedEvents }: ServerDeps): SecretVerifier {
  const limits = { attempts: config.limits.clientSecretFailures, windowSeconds: config.loginThrottle.windowSeconds };
  return createSecretVerifier({
    passwords: clientSecrets,
    throttle: throttles.createGuessThrottle(database.query, 'client-secret', limits, { remembersRefusals: true }),
    onFailure({ clientId, address }) {
      const event = { type: 'client.authentication_failed', actor: 'system', clientId, detail: { address } } as const;
      countedEvents.count(`${clientId} ${throttles.networkOf(address)}`, event);
    },
  });
}

async function createPrelude(
  { config, log, metrics }: ServerDeps,
  isTrusted: (address: string) => boolean,
): Promise<RequestPrelude> {
  const { issuer, mutualTls } = config;
  return createRequestPrelude({
    log,
    metrics,
    endpointOf: createEndpointFinder(ROUTES),
    origins: [issuer, ...[mutualTls.origin ?? []].flat()],
    isTrusted,
    securityHeaders: await securityHeaders({ isHttps: issuer.startsWith('https:') }),
  });
}

function createAdminApi(parts: Parts) {
  const { database, engine, passwords, readClientCertificate } = parts;
  const takesCertificates = readClientCertificate !== undefined;
  const clients = createClients({
    database,
    passwords,
    assertLoadable: (...client) => assertLoadable({ provider: engine.provider, takesCertificates }, ...client),
    assertSector: (clientId, metadata) => assertSector(engine.provider, clientId, metadata),
    subjectsOf: (clientId, metadata) => subjectsOf(engine.provider, clientId, metadata),
    removeArtifacts: removeArtifactsOfClient,
  });
  return { clients, ...adminApi({ ...parts, clients }) };
}

/** In the order in which a request is offered to them. */
function routers(parts: Parts, { clients, guard, routes }: ReturnType<typeof createAdminApi>): Router[] {
  const { config, database, engine, logos, passwords, countedEvents, metrics, log, secretVerifier, version } = parts;
  const { issuer } = config;
  const own = { query: database.query, secretVerifier, clients, findReservedWord: reservedNames(issuer) };
  const fetchThrottle = throttles.createDocumentThrottle(database.query);
  return [
    adminRoutes({ guard, routes, issuer, version }),
    registrationRoutes({
      issuer,
      registrations: createSelfRegistrations({ ...own, fetchThrottle }),
      isOpen: config.registration.isOpen,
      throttle: throttles.createRegistrationThrottle(database.query, config.limits.registrationsPerHour),
      log,
    }),
    interactionRoutes({
      ...{ database, engine, issuer, logos, countedEvents, log, metrics },
      passwordCheck: createPasswordCheck(passwords),
      throttle: throttles.createLoginThrottle(database.query, config.loginThrottle),
    }),
    logoRoutes({ engine, logos }),
    startRoutes({ engine }),
  ];
}

/** What answers without an app and without the database. */
function publicDocuments({ keySchedule }: ServerDeps['config'], engine: Engine, { metadata }: Guard): PublicDocument[] {
  // A verifier that keeps the keys for so long has each new one before it signs.
  const maxAgeSeconds = Math.min(MAX_AGE_SECONDS, keySchedule.publishAheadSeconds);
  const cached = { maxAgeSeconds, isForBrowserApps: true };
  const live = { contentType: JSON_TYPE, maxAgeSeconds: undefined, isForBrowserApps: false };
  return [
    ...engine.documents().map((document) => ({ ...document, ...cached })),
    ...(metadata === undefined
      ? []
      : [{ ...cached, path: metadata.url.pathname, contentType: JSON_TYPE, text: metadata.text }]),
    { ...live, path: LIVENESS.path, text: JSON.stringify(LIVENESS.body) },
  ];
}

function mount(app: Koa, router: Router): void {
  app.use(router.routes());
  // Names the methods of a path in `Allow`; problemAnswers says the rest.
  app.use(router.allowedMethods());
}

const ENGINE_PATHS = /^\/(oauth2(?!\/register(?:[/?]|$))|\.well-known)\//i;

/** The engine answers for its own paths with its own errors; it takes the request as Node passes it. */
function dispatch(
  prelude: RequestPrelude,
  documents: PublicDocuments,
  handlers: { engine: Server['handler']; others: Server['handler'] },
): Server['handler'] {
  return (request, response) => {
    const isForUs = prelude.accept(request, response);
    if (isForUs && documents.answer(request, response)) return;
    if (isForUs && ENGINE_PATHS.test(request.url ?? '')) return handlers.engine(request, response);
    prelude.setCommonHeaders(request, response);
    handlers.others(request, response);
  };
}
