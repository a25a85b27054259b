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
import { checkedFetch, DOCUMENT_FETCHES } from './clients/metadata-documents.ts';
import { acceptAliases } from './clients/mutual-tls.ts';
import { nameUnauthorizedClients } from './clients/unauthorized-client.ts';
import { createFindAccount } from './configuration/account.ts';
import { type EngineKeys, type ProtocolDeps, protocol } from './configuration/configuration.ts';
import { sessionCookie } from './configuration/cookies.ts';
import { createLoadExistingGrant } from './configuration/existing-grant.ts';
import { features } from './configuration/features.ts';
import { detectReplays } from './configuration/replay-detection.ts';
import { answerWith, assertEngineInternals } from './engine-internals.ts';
import { reportEvents } from './events.ts';
import { bothTransports, createFastPath } from './fast-path/fast-path.ts';
import { clientCredentials } from './grants/client-credentials.ts';
import { authorizationCode, refreshToken } from './grants/code-and-refresh.ts';
import { deviceCode } from './grants/device-code.ts';
import { deviceAnswers } from './grants/device-flow.ts';
import { registerGrants } from './grants/grant.ts';
import { tokenExchange } from './grants/token-exchange.ts';
import { clientChallenge } from './http/client-challenge.ts';
import { exactPaths } from './http/exact-paths.ts';
import { formPostPages } from './http/form-post.ts';
import { inputGate } from './http/input-gate.ts';
import { restartWithoutSession } from './http/lost-session.ts';
import { refusingOverloads } from './http/overload.ts';
import type { Pages } from './http/pages.ts';
import { AUTHORIZATION_PARAMETERS, LOGOUT_PARAMETERS } from './http/parameters.ts';
import { postedRequests } from './http/posted-requests.ts';
import { endSessionsForGood } from './logout/end-session.ts';
import { installLogoutNotices, type LogoutNotices, type SendLogoutNotice } from './logout/logout-notices.ts';
import { createLogoutTransaction } from './logout/logout-transaction.ts';
import { declaredDetailsTypes } from './policy/authorization-details.ts';
import { createDirectory, type Directory } from './policy/directory.ts';
import { createResourcePolicy } from './policy/resource-server-policy.ts';
import { METHODS, ROUTES } from './routes.ts';
import { createArtifactStore } from './storage/artifact-store.ts';
import { createUnitOfWork } from './storage/unit-of-work.ts';
import { bindIdTokens, bindOpaque, jwtCustomizer } from './tokens/binding-hooks.ts';
import { namedActor } from './tokens/delegation.ts';
import { createIntrospection, createIntrospectionPolicy } from './tokens/introspection.ts';
import { createJwtAccessTokens, type JwtAccessTokens } from './tokens/jwt-access-tokens.ts';
import { createStorage } from './tokens/model-adapter.ts';
import { createPairwiseIdentifier } from './tokens/pairwise.ts';
import { createRevokeReplayed } from './tokens/replayed.ts';
import { prefixTokens } from './tokens/token-prefixes.ts';
import { createFindTokenWithGrant } from './tokens/token-with-grant.ts';
import { createUserinfo } from './tokens/userinfo.ts';

/** What stands around every answer of this server. */
export interface EnginePrelude {
  /** what the engine's app passes first */
  readonly middlewares: readonly Middleware[];
  /** sets the headers that every answer carries */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** the same headers, names and values by turns */
  rawHeaders(request: IncomingMessage): readonly string[];
  /** that of our origins by which the client has come */
  originOf(request: IncomingMessage): string | undefined;
}

export interface ProviderDeps extends Omit<ProtocolDeps, 'pairwiseIdentifier'> {
  /** secret, and never changed */
  readonly pairwiseSalt: string;
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

/** @throws Error when the engine cannot work with the keys */
export function createEngine(deps: ProviderDeps, keys: EngineKeys): Engine {
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

function createParts({ config, database, pairwiseSalt, secretVerifier, pages, metrics, log }: ProviderDeps) {
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
    pairwiseIdentifier: createPairwiseIdentifier(pairwiseSalt),
    revokeReplayed: createRevokeReplayed({ database, metrics }),
  };
}

function build(deps: ProviderDeps, parts: Parts, keys: EngineKeys): Built {
  const { config, database, metrics } = deps;
  const jwtAccessTokens = createJwtAccessTokens({
    query: database.query,
    artifactStore: parts.artifactStore,
    issuer: config.issuer,
    publicJwks: keys.signingKeys.map((key) => key.publicJwk),
  });
  const provider = createProvider(deps, { ...parts, jwtAccessTokens }, keys);
  assertEngineInternals(provider);
  installHooks(provider, deps, parts);
  for (const middleware of middlewares(deps, parts)) provider.use(middleware);
  const findTokenWithGrant = createFindTokenWithGrant({ ...parts, provider });
  const shared = { ...deps, ...parts, query: database.query, provider, jwtAccessTokens, findTokenWithGrant };
  registerGrants(shared, [
    clientCredentials(shared),
    authorizationCode(shared),
    refreshToken(shared),
    deviceCode(shared),
    tokenExchange(shared),
  ]);
  const introspect = createIntrospection({ ...shared, metrics });
  answerWith(provider, {
    async introspection(ctx) {
      const { client, params } = ctx.oidc;
      ctx.body = client && (await introspect(client, String(params?.token)));
    },
    userinfo: createUserinfo(shared),
  });
  const sendLogoutNotice = installLogoutNotices({ provider, notices: deps.logoutNotices, logout: parts.logout });
  return { provider, jwtAccessTokens, handler: createHandler(deps, provider), sendLogoutNotice };
}

function createHandler({ config, prelude, log }: ProviderDeps, provider: Provider): Engine['handler'] {
  const fastPath = createFastPath({
    provider,
    clientChallenge: clientChallenge({ issuer: config.issuer, paths: CLIENT_ENDPOINTS }),
    certificateHeader: config.mutualTls.header,
    rawHeaders: prelude.rawHeaders,
    originOf: prelude.originOf,
  });
  const callback = provider.callback();
  const engine: Engine['handler'] = (request, response) => {
    prelude.setCommonHeaders(request, response);
    void callback(request, response);
  };
  return bothTransports(fastPath, engine, (error, { headers }) =>
    log.error({ error, request_id: headers['x-request-id'] }, 'an answer broke off'),
  );
}

type PartsOfKeys = Parts & { readonly jwtAccessTokens: JwtAccessTokens };

function createProvider(deps: ProviderDeps, parts: PartsOfKeys, keys: EngineKeys): Provider {
  const { config, database, artifactKey, log } = deps;
  const { directory, clientAdapter } = parts;
  const storage = createStorage({ ...parts, query: database.query, artifactKey });
  const provider = new Provider(config.issuer, {
    ...protocol({ ...deps, ...parts, fetch: checkedFetch(deps.fetch, log) as typeof fetch }, keys),
    adapter: (model) => (model === 'Client' ? clientAdapter : storage(model)),
    findAccount: createFindAccount(directory),
    loadExistingGrant: createLoadExistingGrant(database.query),
    extraTokenClaims: async (ctx, token) => ({ ...(await namedActor(directory, token)), ...bindOpaque(ctx, token) }),
    formats: { customizers: { jwt: jwtCustomizer(directory) }, bitsOfOpaqueRandomness: 256 },
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
  reportEvents(provider, { ...parts, metrics, log });
}

/** In the order in which a request passes them, in front of the engine's own routes. */
function middlewares(deps: ProviderDeps, parts: Parts): Middleware[] {
  const { config, database, pages, metrics, log } = deps;
  const parameters = {
    [ROUTES.authorization]: AUTHORIZATION_PARAMETERS,
    [ROUTES.end_session]: LOGOUT_PARAMETERS,
  };
  return [
    ...deps.prelude.middlewares,
    exactPaths(METHODS),
    inputGate({ pages, metrics, log }),
    restartWithoutSession({ path: ROUTES.code_verification, sessionCookie: sessionCookie(config.issuer) }),
    postedRequests({ parameters, pages }),
    clientChallenge({ issuer: config.issuer, paths: CLIENT_ENDPOINTS }),
    declaredDetailsTypes(database.query),
    deviceAnswers({ paths: ROUTES, throttle: parts.guesses, pages }),
    parts.logout.middleware,
    formPostPages(pages.renderFormPost),
  ];
}

/** A login or consent page in progress. */
export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;
