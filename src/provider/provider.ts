// The engine, put together: its configuration (protocol.ts, features.ts), our adapters and policies, and the middlewares that
// every request of its passes, in order. This folder is the only one that imports 'oidc-provider'; what it needs from the pages above it
// (errors, logout) it receives as functions.

import type { Middleware } from 'koa';
import Provider from 'oidc-provider';
import type { SecretVerifier } from '../clients/secret.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createGuessThrottle } from '../users/throttle.ts';
import { createFindAccount } from './account.ts';
import { declaredDetailsTypes } from './authorization-details.ts';
import { bindJwt, bindModels, bindOpaque } from './binding-hooks.ts';
import { createClientAdapter } from './client-adapter.ts';
import { clientChallenge } from './client-challenge.ts';
import { createClientUses } from './client-uses.ts';
import { createLoadExistingGrant } from './consent.ts';
import { deviceAnswers, slowDown } from './device-flow.ts';
import { createDirectory, type Directory } from './directory.ts';
import { reportEvents } from './events.ts';
import { exactPaths } from './exact-paths.ts';
import { features } from './features.ts';
import { formPostPages } from './form-post.ts';
import { createHotStore } from './hot-store.ts';
import { createIntrospectionPolicy, introspectionAnswers } from './introspection.ts';
import { createJwtBridge, type JwtBridge } from './jwt-bridge.ts';
import { refusingOverloads } from './overload.ts';
import type { Pages } from './pages.ts';
import { type ProtocolDeps, protocol, ROUTES } from './protocol.ts';
import { useOnce } from './replay-guard.ts';
import { createResourcePolicy } from './resource-server-info.ts';
import { shortClientCredentials, shortIntrospection } from './short-answers.ts';
import { shortPath } from './short-path.ts';
import { createStorage } from './storage.ts';
import { registerTokenExchange } from './token-exchange.ts';
import { markTokens } from './token-marks.ts';
import { tokenTransaction } from './token-transaction.ts';
import { createUnitOfWork } from './unit-of-work.ts';

export interface ProviderDeps extends ProtocolDeps {
  readonly database: Database;
  readonly secretVerifier: SecretVerifier;
  /** seals what must be found by something else than its id */
  readonly artifactKey: Buffer;
  readonly pages: Pages;
  /** what every request passes before the engine sees it */
  readonly entrance: readonly Middleware[];
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Of 25,600,000,000 codes. Whoever types badly needs three. */
const USER_CODE_GUESSES = { attempts: 20, windowSeconds: 900 };

export interface Engine {
  readonly provider: Provider;
  readonly jwtBridge: JwtBridge;
  readonly directory: Directory;
}

export function createProvider(deps: ProviderDeps): Engine {
  const { config, database, metrics, log } = deps;
  const { query } = database;
  const sharedDirectory = createDirectory(database, metrics);
  const directory = refusingOverloads(sharedDirectory);
  const hotStore = refusingOverloads(createHotStore(database, metrics));
  const unitOfWork = createUnitOfWork(hotStore);
  const jwtBridge = createJwtBridge({
    query,
    hotStore,
    issuer: config.issuer,
    publicJwks: deps.signingKeys.map((key) => key.publicJwk),
    paths: new Set([ROUTES.introspection, ROUTES.revocation]),
  });
  const storage = createStorage({
    query,
    hotStore,
    directory,
    unitOfWork,
    jwtBridge,
    artifactKey: deps.artifactKey,
  });
  const resourcePolicy = createResourcePolicy({ directory, accessTokenSeconds: config.lifetimes.accessTokenSeconds });
  const introspectionPolicy = createIntrospectionPolicy(directory);
  const clientAdapter = createClientAdapter({ database, directory, secretVerifier: deps.secretVerifier, log });

  const provider = new Provider(config.issuer, {
    ...protocol(deps),
    adapter: (model) => (model === 'Client' ? clientAdapter : storage(model)),
    findAccount: createFindAccount(directory),
    loadExistingGrant: createLoadExistingGrant(query),
    extraTokenClaims: bindOpaque,
    formats: {
      customizers: { jwt: bindJwt },
      bitsOfOpaqueRandomness: 256,
    },
    features: features({ ...deps, directory, resourcePolicy, introspectionPolicy }),
  });
  // proxyHeaders has rewritten X-Forwarded-* to one trustworthy value each, so that the engine may believe them.
  provider.proxy = true;
  clientAdapter.install(provider);
  bindModels(provider);
  markTokens(provider);
  // The engine looks first and stores later; our insert decides in one statement. (RFC 7523 §3, jti)
  provider.ReplayDetection.unique = (iss, jti, exp) => useOnce(query, [iss, jti], exp);
  const noteUse = createClientUses({ query, directory, log });
  reportEvents(provider, { hotStore, unitOfWork, noteUse, metrics, log });
  for (const middleware of deps.entrance) provider.use(middleware);
  provider.use(exactPaths(Object.values(ROUTES)));
  provider.use(
    clientChallenge({
      issuer: config.issuer,
      paths: new Set([
        ROUTES.token,
        ROUTES.introspection,
        ROUTES.revocation,
        ROUTES.pushed_authorization_request,
        ROUTES.device_authorization,
      ]),
    }),
  );
  provider.use(declaredDetailsTypes(query));
  slowDown(provider, query);
  const throttle = createGuessThrottle(database.pool, 'user-code', USER_CODE_GUESSES);
  provider.use(deviceAnswers({ paths: ROUTES, throttle, pages: deps.pages }));
  provider.use(tokenTransaction({ database, unitOfWork, metrics, log, path: ROUTES.token }));
  provider.use(formPostPages(deps.pages.renderFormPost));
  provider.use(introspectionAnswers(ROUTES.introspection, metrics));
  registerTokenExchange({ provider, directory, resourcePolicy, introspectionPolicy, jwtBridge, unitOfWork });
  const shortAnswers = { provider, directory, resourcePolicy, introspectionPolicy, jwtBridge };
  provider.use(
    shortPath({
      provider,
      clientAdapter,
      answers: {
        [ROUTES.token]: shortClientCredentials(shortAnswers),
        [ROUTES.introspection]: shortIntrospection(shortAnswers),
      },
    }),
  );
  provider.use(jwtBridge.middleware);
  return { provider, jwtBridge, directory: sharedDirectory };
}

/** A login or consent page in progress. */
export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;

/** The cookie and the stored interaction or session do not fit (any more). */
export function isSessionNotFound(error: unknown): boolean {
  return error instanceof Error && error.name === 'SessionNotFound';
}
