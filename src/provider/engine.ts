// The engine, put together: its configuration (protocol.ts, features.ts), our adapters and policies, and the middlewares that
// every request of its passes, in order. This folder is the only one that imports 'oidc-provider'; what it needs from the pages above it
// (errors, logout) it receives as functions.
//
// The engine reads its keys once. When keys change, a new one is built around the same stores and takes the place of the old one;
// requests that are underway end where they began.

import type { IncomingMessage, ServerResponse } from 'node:http';
import Koa, { type Middleware } from 'koa';
import Provider from 'oidc-provider';
import type { SecretVerifier } from '../clients/secret.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createGuessThrottle } from '../users/throttle.ts';
import { createClientAdapter } from './clients/client-adapter.ts';
import { createClientUses } from './clients/last-use.ts';
import { checkingDocuments, DOCUMENT_FETCHES } from './clients/metadata-documents.ts';
import { acceptAliases } from './clients/mutual-tls.ts';
import { nameUnauthorizedClients } from './clients/unauthorized-client.ts';
import { createFindAccount } from './configuration/account.ts';
import { type EngineKeys, type ProtocolDeps, protocol } from './configuration/configuration.ts';
import { createLoadExistingGrant } from './configuration/existing-grant.ts';
import { features } from './configuration/features.ts';
import { createPairwiseIdentifier } from './configuration/pairwise.ts';
import { detectReplays } from './configuration/replay-detection.ts';
import { assertEngineInternals } from './engine-internals.ts';
import { probeEngine } from './engine-probe.ts';
import { reportEvents } from './events.ts';
import { fastPathFirst } from './fast-path/fast-endpoint.ts';
import { fastEndpoints } from './fast-path/fast-path.ts';
import { deviceAnswers, slowDown } from './grants/device-flow.ts';
import { registerTokenExchange } from './grants/token-exchange.ts';
import { clientChallenge } from './http/client-challenge.ts';
import { exactPaths } from './http/exact-paths.ts';
import { refuseLargeForms } from './http/form-body.ts';
import { formPostPages } from './http/form-post.ts';
import { refusingOverloads } from './http/overload.ts';
import type { Pages } from './http/pages.ts';
import { AUTHORIZATION_PARAMETERS, LOGOUT_PARAMETERS, postedRequests } from './http/posted-requests.ts';
import { readableRequestObjects } from './http/request-object-shape.ts';
import { endSessionsForGood } from './logout/end-session.ts';
import { installLogoutNotices, type LogoutNotices, type SendLogoutNotice } from './logout/logout-notices.ts';
import { createLogoutTransaction } from './logout/logout-transaction.ts';
import { declaredDetailsTypes } from './policy/authorization-details.ts';
import { createDirectory, type Directory } from './policy/directory.ts';
import { createResourcePolicy } from './policy/resource-server-policy.ts';
import { METHODS, ROUTES } from './routes.ts';
import { createArtifactStore } from './storage/artifact-store.ts';
import { createUnitOfWork } from './storage/unit-of-work.ts';
import { bindIdTokens, bindJwt, bindOpaque } from './tokens/binding-hooks.ts';
import { namedActor } from './tokens/delegation.ts';
import { createIntrospectionPolicy, introspectionAnswers } from './tokens/introspection.ts';
import { createJwtAccessTokens, type JwtAccessTokens } from './tokens/jwt-access-tokens.ts';
import { createStorage } from './tokens/model-adapter.ts';
import { prefixTokens } from './tokens/token-prefixes.ts';
import { tokenTransaction } from './tokens/token-transaction.ts';

/** What stands around every answer of this server. */
export interface EnginePrelude {
  /** what the engine's app passes first */
  readonly middlewares: readonly Middleware[];
  /** sets the headers that every answer carries */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** the same headers, names and values by turns */
  rawHeaders(request: IncomingMessage): readonly string[];
}

export interface ProviderDeps extends ProtocolDeps {
  readonly database: Database;
  readonly secretVerifier: SecretVerifier;
  /** seals what must be found by something else than its id */
  readonly artifactKey: Buffer;
  readonly pages: Pages;
  readonly logoutNotices: Pick<LogoutNotices, 'add'>;
  readonly prelude: EnginePrelude;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Where clients authenticate. */
const CLIENT_ENDPOINTS: ReadonlySet<string> = new Set([
  ...[ROUTES.token, ROUTES.introspection, ROUTES.revocation],
  ...[ROUTES.pushed_authorization_request, ROUTES.device_authorization],
]);

/** Of 25,600,000,000 codes. Whoever types badly needs three. */
const USER_CODE_GUESSES = { attempts: 20, windowSeconds: 900 };

/** What stays the same while keys come and go. */
export interface Engine {
  /** of today: to be asked for anew at every use */
  readonly provider: Provider;
  /** of today */
  readonly jwtAccessTokens: JwtAccessTokens;
  readonly directory: Directory;
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  readonly sendLogoutNotice: SendLogoutNotice;
  useKeys(keys: EngineKeys): void;
}

interface Built {
  readonly provider: Provider;
  readonly jwtAccessTokens: JwtAccessTokens;
  readonly handler: Engine['handler'];
  readonly sendLogoutNotice: SendLogoutNotice;
}

/** @throws Error when the engine cannot work with the keys, or is not the one that this was written against */
export async function createEngine(deps: ProviderDeps, keys: EngineKeys): Promise<Engine> {
  await probeEngine();
  const parts = createParts(deps);
  let built = build(deps, parts, keys);
  return {
    get provider() {
      return built.provider;
    },
    get jwtAccessTokens() {
      return built.jwtAccessTokens;
    },
    directory: parts.sharedDirectory,
    handler: (request, response) => built.handler(request, response),
    sendLogoutNotice: (notice) => built.sendLogoutNotice(notice),
    useKeys(changed) {
      built = build(deps, parts, changed);
    },
  };
}

type Parts = ReturnType<typeof createParts>;

function createParts({ config, database, secretVerifier, pages, metrics, log }: ProviderDeps) {
  const { query } = database;
  const sharedDirectory = createDirectory(database, metrics);
  const directory = refusingOverloads(sharedDirectory);
  const artifactStore = refusingOverloads(createArtifactStore(database, metrics));
  const unitOfWork = createUnitOfWork(artifactStore);
  const resourcePolicy = createResourcePolicy({ directory, accessTokenSeconds: config.lifetimes.accessTokenSeconds });
  const introspectionPolicy = createIntrospectionPolicy({ directory, artifactStore });
  const clientAdapter = createClientAdapter({ database, directory, secretVerifier, log });
  const noteUse = createClientUses({ query, directory, log });
  const guesses = createGuessThrottle(database.pool, 'user-code', USER_CODE_GUESSES);
  const documentThrottle = createGuessThrottle(database.pool, 'metadata-document', DOCUMENT_FETCHES);
  const logout = createLogoutTransaction({ database, path: `${ROUTES.end_session}/confirm`, pages, log });
  return {
    ...{ sharedDirectory, directory, artifactStore, unitOfWork, resourcePolicy, introspectionPolicy, clientAdapter },
    ...{ noteUse, guesses, documentThrottle, logout },
  };
}

function build(deps: ProviderDeps, parts: Parts, keys: EngineKeys): Built {
  const { config, prelude, metrics, log } = deps;
  const jwtAccessTokens = createJwtAccessTokens({
    query: deps.database.query,
    artifactStore: parts.artifactStore,
    issuer: config.issuer,
    publicJwks: keys.signingKeys.map((key) => key.publicJwk),
    paths: new Set([ROUTES.introspection, ROUTES.revocation]),
  });
  const provider = createProvider(deps, { ...parts, jwtAccessTokens }, keys);
  assertEngineInternals(provider);
  installHooks(provider, deps, parts);
  for (const middleware of middlewares(deps, { ...parts, jwtAccessTokens })) provider.use(middleware);
  registerTokenExchange({
    ...{ ...parts, provider, jwtAccessTokens },
    pairwiseIdentifier: createPairwiseIdentifier(deps.pairwiseSalt),
  });
  const sendLogoutNotice = installLogoutNotices({ provider, notices: deps.logoutNotices, logout: parts.logout });
  const fastPath = fastEndpoints({
    ...{ ...parts, provider, jwtAccessTokens, metrics, paths: ROUTES, rawHeaders: prelude.rawHeaders },
  });
  const callback = provider.callback();
  const handler = fastPathFirst(fastPath, {
    long(request, response) {
      prelude.setCommonHeaders(request, response);
      void callback(request, response);
    },
    onBrokenOff: (error) => log.warn({ error }, 'an answer broke off'),
  });
  return { provider, jwtAccessTokens, handler, sendLogoutNotice };
}

type PartsOfKeys = Parts & { readonly jwtAccessTokens: JwtAccessTokens };

function createProvider(deps: ProviderDeps, parts: PartsOfKeys, keys: EngineKeys): Provider {
  const { config, database, artifactKey, log } = deps;
  const { directory, clientAdapter } = parts;
  const storage = createStorage({ ...parts, query: database.query, artifactKey });
  const provider = new Provider(config.issuer, {
    ...protocol({ ...deps, fetch: checkingDocuments(deps.fetch, log) as typeof fetch }, keys),
    adapter: (model) => (model === 'Client' ? clientAdapter : storage(model)),
    findAccount: createFindAccount(directory),
    loadExistingGrant: createLoadExistingGrant(database.query),
    extraTokenClaims: async (ctx, token) => ({ ...(await namedActor(directory, token)), ...bindOpaque(ctx, token) }),
    formats: { customizers: { jwt: bindJwt }, bitsOfOpaqueRandomness: 256 },
    features: features({ ...deps, ...parts }),
  });
  // The request prelude has rewritten X-Forwarded-* to one trusted value each.
  provider.proxy = true;
  return provider;
}

/** What is attached to the engine once it is there: replaced methods (engine-internals) and listeners. */
function installHooks(provider: Provider, deps: ProviderDeps, parts: Parts): void {
  const { config, database, metrics, log } = deps;
  // An error that reaches this came after the answer had begun.
  Koa.prototype.on.call(provider, 'error', (error) => log.warn({ error }, 'an answer broke off'));
  acceptAliases(provider, config.mutualTls.origin);
  parts.clientAdapter.install(provider);
  nameUnauthorizedClients(provider);
  bindIdTokens(provider);
  prefixTokens(provider);
  endSessionsForGood(provider, { logout: parts.logout, sessionSeconds: config.lifetimes.sessionSeconds, log });
  detectReplays(provider, database.query);
  slowDown(provider, database.query);
  reportEvents(provider, { ...parts, metrics, log });
}

/** In the order in which a request passes them, in front of the engine's own routes. */
function middlewares(deps: ProviderDeps, parts: PartsOfKeys): Middleware[] {
  const { config, database, pages, metrics, log } = deps;
  const parameters = {
    [ROUTES.authorization]: AUTHORIZATION_PARAMETERS,
    [ROUTES.end_session]: LOGOUT_PARAMETERS,
  };
  return [
    ...deps.prelude.middlewares,
    exactPaths(METHODS),
    readableRequestObjects({ path: ROUTES.authorization, pages }),
    postedRequests({ parameters, pages }),
    refuseLargeForms(CLIENT_ENDPOINTS),
    clientChallenge({ issuer: config.issuer, paths: CLIENT_ENDPOINTS }),
    declaredDetailsTypes(database.query),
    deviceAnswers({ paths: ROUTES, throttle: parts.guesses, pages }),
    tokenTransaction({ database, unitOfWork: parts.unitOfWork, metrics, log, path: ROUTES.token }),
    parts.logout.middleware,
    formPostPages(pages.renderFormPost),
    introspectionAnswers(ROUTES.introspection, metrics),
    parts.jwtAccessTokens.middleware,
  ];
}

/** A login or consent page in progress. */
export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;
