// The protocol engine: oidc-provider with our configuration, storage, policies and grants. This
// folder is the only one that imports it. Requests for /oauth2/* and /.well-known/* are handed to
// `handler`; the pages that people see (errors, login, logout) are functions that the caller passes
// in.
//
// The engine reads its keys once. When keys change, a new one is built around the same parts
// (engine-parts) and takes the place of the old one; a request that is underway ends with the
// engine it began with. What is used of oidc-provider outside its documented interface is listed in
// engine-internals and checked here.

import type { IncomingMessage, ServerResponse } from 'node:http';
import Koa, { type Middleware } from 'koa';
import Provider from 'oidc-provider';
import { checkedFetch } from './clients/metadata-documents.ts';
import { acceptAliases } from './clients/mutual-tls.ts';
import { compareRedirectUris } from './clients/redirect-uris.ts';
import { nameUnauthorizedClients } from './clients/unauthorized-client.ts';
import { createFindAccount } from './configuration/account.ts';
import { expectAudiences } from './configuration/assertion-audience.ts';
import { configuration, type EngineKeys } from './configuration/configuration.ts';
import { sessionCookie } from './configuration/cookies.ts';
import { createGrowGrant, createLoadExistingGrant, type GrowGrant } from './configuration/existing-grant.ts';
import { features } from './configuration/features.ts';
import { ignoringUnallowedOfflineAccess, keepAskedScopes } from './configuration/offline-access.ts';
import { detectReplays } from './configuration/replay-detection.ts';
import { assertEngineInternals } from './engine-internals.ts';
import { createParts, type Parts, type ProviderDeps } from './engine-parts.ts';
import { probeEngine } from './engine-probe.ts';
import { answerWith } from './engine-steps.ts';
import { reportEvents } from './events.ts';
import { type EngineDocument, engineDocuments, isForDocument } from './fast-path/engine-documents.ts';
import { bothTransports, createFastPath } from './fast-path/fast-path.ts';
import { clientCredentials } from './grants/client-credentials.ts';
import { authorizationCode, refreshToken } from './grants/code-and-refresh.ts';
import { deviceCode } from './grants/device-code.ts';
import { deviceAnswers } from './grants/device-flow.ts';
import { registerGrants } from './grants/grant.ts';
import { tokenExchange } from './grants/token-exchange.ts';
import { clientChallenge } from './http/client-challenge.ts';
import { catchUp, refuseUnlessCurrent } from './http/current-memory.ts';
import { exactPaths } from './http/exact-paths.ts';
import { formPostPages } from './http/form-post.ts';
import { inputGate } from './http/input-gate.ts';
import { restartWithoutSession } from './http/lost-session.ts';
import { pageTransaction } from './http/page-transaction.ts';
import { AUTHORIZATION_PARAMETERS, LOGOUT_PARAMETERS } from './http/parameters.ts';
import { postedRequests } from './http/posted-requests.ts';
import { endSessionsForGood } from './logout/end-session.ts';
import { installLogoutNotices, type SendLogoutNotice } from './logout/logout-notices.ts';
import { declaredDetailsTypes } from './policy/authorization-details.ts';
import type { Directory } from './policy/directory.ts';
import { METHODS, ROUTES } from './routes.ts';
import type { UnitOfWork } from './storage/unit-of-work.ts';
import { bindIdTokens, bindOpaque, jwtCustomizer } from './tokens/binding-hooks.ts';
import { namedActor } from './tokens/delegation.ts';
import { createIntrospection } from './tokens/introspection.ts';
import { createJwtAccessTokens, type JwtAccessTokens } from './tokens/jwt-access-tokens.ts';
import { createStorage } from './tokens/model-adapter.ts';
import { createRevocation } from './tokens/revocation.ts';
import { prefixTokens } from './tokens/token-prefixes.ts';
import { createFindTokenWithGrant } from './tokens/token-with-grant.ts';
import { createUserinfo } from './tokens/userinfo.ts';

/** Where clients authenticate. */
const CLIENT_ENDPOINTS: ReadonlySet<string> = new Set([
  ...[ROUTES.token, ROUTES.introspection, ROUTES.revocation],
  ...[ROUTES.pushed_authorization_request, ROUTES.device_authorization],
]);

/** Stays the same when the keys change; two of its members do not. */
export interface Engine {
  /** of the current keys: not to be kept */
  readonly provider: Provider;
  /** of the current keys: not to be kept */
  readonly jwtAccessTokens: JwtAccessTokens;
  readonly directory: Directory;
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  readonly sendLogoutNotice: SendLogoutNotice;
  /** what it publishes now: other documents when the keys or the declared types have changed */
  documents(): readonly EngineDocument[];
  readonly unitOfWork: Pick<UnitOfWork, 'collect' | 'step' | 'record' | 'afterwards'>;
  readonly growGrant: GrowGrant;
  useKeys(keys: EngineKeys): void;
}

interface Built {
  readonly provider: Provider;
  readonly jwtAccessTokens: JwtAccessTokens;
  readonly handler: Engine['handler'];
  /** for requests that are refused (http/current-memory) */
  readonly refusing: Engine['handler'];
  readonly sendLogoutNotice: SendLogoutNotice;
}

/** It begins when this module is loaded, while the database still starts. */
const probing = probeEngine();
// `createEngine` reports it.
probing.catch(() => {});

/**
 * @throws Error when the engine cannot work with the keys, or is not the one that this was written
 * against
 */
export async function createEngine(deps: ProviderDeps, keys: EngineKeys): Promise<Engine> {
  await probing;
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
    unitOfWork: parts.unitOfWork,
    handler(request, response) {
      if (isForDocument(request)) return built.handler(request, response);
      const answer = (isCurrent: boolean) => (isCurrent ? built.handler : built.refusing)(request, response);
      void catchUp(deps.database.changes, request).then(answer);
    },
    sendLogoutNotice: (notice) => built.sendLogoutNotice(notice),
    growGrant: (query, owner, add) => createGrowGrant(parts, built.provider)(query, owner, add),
    documents: () => engineDocuments(built.provider, deps.detailsTypes.current()),
    useKeys(changed) {
      built = build(deps, parts, changed);
    },
  };
}

function build(deps: ProviderDeps, parts: Parts, keys: EngineKeys): Built {
  const { config, metrics } = deps;
  const { database } = parts;
  const jwtAccessTokens = createJwtAccessTokens({
    artifactStore: parts.artifactStore,
    issuer: config.issuer,
    publicJwks: keys.signingKeys.map((key) => key.publicJwk),
  });
  const provider = createProvider(deps, parts, keys);
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
    revocation: createRevocation({ ...shared, metrics }),
  });
  const sendLogoutNotice = installLogoutNotices({ ...parts, provider, notices: deps.logoutNotices });
  return { provider, jwtAccessTokens, ...createHandlers(deps, provider), sendLogoutNotice };
}

function createHandlers(
  { config, prelude, log }: ProviderDeps,
  provider: Provider,
): Pick<Built, 'handler' | 'refusing'> {
  const fastPath = createFastPath({
    provider,
    certificateHeader: config.mutualTls.header,
    rawHeaders: prelude.rawHeaders,
    originOf: prelude.originOf,
  });
  const callback = provider.callback();
  const engine: Engine['handler'] = (request, response) => {
    prelude.setCommonHeaders(request, response);
    void callback(request, response);
  };
  const handler = bothTransports(fastPath, engine, (error, { headers }) =>
    log.error({ error, request_id: headers['x-request-id'] }, 'an answer broke off'),
  );
  return { handler, refusing: engine };
}

function createProvider(deps: ProviderDeps, parts: Parts, keys: EngineKeys): Provider {
  const { config, artifactKey } = deps;
  const { database, directory, clientAdapter } = parts;
  const storage = createStorage({ ...parts, query: database.query, changes: database.changes, artifactKey });
  const fetchChecked = checkedFetch({ ...deps, issuer: config.issuer, directory }) as typeof fetch;
  const provider = new Provider(config.issuer, {
    ...configuration({ ...deps, ...parts, fetch: fetchChecked }, keys),
    adapter: (model) => (model === 'Client' ? clientAdapter : storage(model)),
    findAccount: createFindAccount(directory),
    loadExistingGrant: ignoringUnallowedOfflineAccess(createLoadExistingGrant({ ...parts, database })),
    extraTokenClaims: async (ctx, token) => ({ ...(await namedActor(directory, token)), ...bindOpaque(ctx, token) }),
    formats: {
      customizers: { jwt: jwtCustomizer({ directory, changes: database.changes, signingKeys: keys.signingKeys }) },
      bitsOfOpaqueRandomness: 256,
    },
    features: features({ ...deps, ...parts }),
  });
  deps.prelude.attachTo(provider);
  return provider;
}

/** What is attached to the engine once it is there: replaced methods (engine-internals) and listeners. */
function installHooks(provider: Provider, deps: ProviderDeps, parts: Parts): void {
  const { config, metrics, log } = deps;
  // An error that reaches this came after the answer had begun.
  Koa.prototype.on.call(provider, 'error', (error) => log.warn({ error }, 'an answer broke off'));
  acceptAliases(provider, config.mutualTls.origin);
  expectAudiences(provider, config.mutualTls.origin);
  parts.clientAdapter.install(provider);
  nameUnauthorizedClients(provider);
  compareRedirectUris(provider);
  keepAskedScopes(provider);
  bindIdTokens(provider);
  prefixTokens(provider);
  endSessionsForGood(provider, { ...parts, sessionSeconds: config.lifetimes.sessionSeconds });
  detectReplays(provider, parts.database.query, parts.writeBudget);
  reportEvents(provider, { ...parts, metrics, log });
}

/** In the order in which a request passes them, in front of the engine's own routes. */
function middlewares(deps: ProviderDeps, parts: Parts): Middleware[] {
  const { config, pages, metrics, log } = deps;
  const parameters = {
    [ROUTES.authorization]: AUTHORIZATION_PARAMETERS,
    [ROUTES.end_session]: LOGOUT_PARAMETERS,
  };
  return [
    ...deps.prelude.middlewares,
    exactPaths(METHODS),
    refuseUnlessCurrent({ pages, metrics, log }),
    pageTransaction({ collect: parts.unitOfWork.collect, pages, log }),
    inputGate({ pages, metrics, log }),
    restartWithoutSession({ path: ROUTES.code_verification, sessionCookie: sessionCookie(config.issuer), pages }),
    postedRequests({ parameters, pages }),
    clientChallenge({ issuer: config.issuer, paths: CLIENT_ENDPOINTS }),
    declaredDetailsTypes(deps.detailsTypes),
    deviceAnswers({ paths: ROUTES, throttle: parts.guesses, pages }),
    formPostPages(pages.renderFormPost),
  ];
}

/** A login or consent page in progress. */
export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;
