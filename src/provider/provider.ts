// The engine and its whole configuration, readable from top to bottom. Everything that differs from the engine's default has
// its reason beside it. This folder is the only one that imports 'oidc-provider'; what it needs from the pages above it
// (errors, logout) it receives as functions.

import type { JWK } from 'jose';
import type { Middleware } from 'koa';
import Provider, { type Client, type Configuration } from 'oidc-provider';
import type { SecretVerifier } from '../clients/secret.ts';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { SigningKey } from '../keys/key-ring.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { CLAIMS_BY_SCOPE } from '../users/user.ts';
import { createFindAccount } from './account.ts';
import { bindJwt, bindModels, bindOpaque } from './binding-hooks.ts';
import { createClientAdapter } from './client-adapter.ts';
import { clientChallenge } from './client-challenge.ts';
import { createLoadExistingGrant } from './consent.ts';
import { cookies } from './cookies.ts';
import { createDirectory, type Directory } from './directory.ts';
import { reportEvents } from './events.ts';
import { exactPaths } from './exact-paths.ts';
import { features } from './features.ts';
import { formPostPages } from './form-post.ts';
import { createHotStore } from './hot-store.ts';
import { createIntrospectionPolicy, introspectionAnswers } from './introspection.ts';
import { createJwtBridge, type JwtBridge } from './jwt-bridge.ts';
import { loginPolicy } from './login-policy.ts';
import { refusingOverloads } from './overload.ts';
import type { Pages } from './pages.ts';
import { useOnce } from './replay-guard.ts';
import { createResourcePolicy } from './resource-server-info.ts';
import { shortClientCredentials, shortIntrospection } from './short-answers.ts';
import { shortPath } from './short-path.ts';
import { createStorage } from './storage.ts';
import { markTokens } from './token-marks.ts';
import { tokenTransaction } from './token-transaction.ts';
import { createUnitOfWork } from './unit-of-work.ts';

export const ROUTES = {
  authorization: '/oauth2/authorize',
  token: '/oauth2/token',
  introspection: '/oauth2/introspect',
  revocation: '/oauth2/revoke',
  userinfo: '/oauth2/userinfo',
  jwks: '/oauth2/jwks',
  end_session: '/oauth2/logout',
} as const;

const CLIENT_AUTH_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const;

/** Asymmetric only: with hashed secrets there is no key for HS256. RS256 because older client libraries know nothing else. */
const CLIENT_ASSERTION_ALGORITHMS = ['ES256', 'PS256', 'RS256', 'Ed25519'] as const;
const SIGNING_ALGORITHMS = ['ES256', 'RS256'] as const;

export interface ProviderDeps {
  readonly config: Pick<Config, 'issuer' | 'lifetimes'>;
  readonly database: Database;
  readonly signingKeys: readonly SigningKey[];
  readonly cookieKeys: readonly string[];
  readonly secretVerifier: SecretVerifier;
  readonly pages: Pages;
  /** what every request passes before the engine sees it */
  readonly entrance: readonly Middleware[];
  readonly metrics: Metrics;
  readonly log: Log;
}

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
  const storage = createStorage({ query, hotStore, directory, unitOfWork, jwtBridge });
  const resourcePolicy = createResourcePolicy({ directory, accessTokenSeconds: config.lifetimes.accessTokenSeconds });
  const introspectionPolicy = createIntrospectionPolicy(directory);
  const clientAdapter = createClientAdapter({ query, directory, secretVerifier: deps.secretVerifier, log });

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
    features: features({ pages: deps.pages, resourcePolicy, introspectionPolicy }),
  });
  // proxyHeaders has rewritten X-Forwarded-* to one trustworthy value each, so that the engine may believe them.
  provider.proxy = true;
  clientAdapter.install(provider);
  bindModels(provider);
  markTokens(provider);
  // The engine looks first and stores later; our insert decides in one statement. (RFC 7523 §3, jti)
  provider.ReplayDetection.unique = (iss, jti, exp) => useOnce(query, [iss, jti], exp);
  reportEvents(provider, { hotStore, unitOfWork, metrics, log });
  for (const middleware of deps.entrance) provider.use(middleware);
  provider.use(exactPaths(Object.values(ROUTES)));
  provider.use(
    clientChallenge({
      issuer: config.issuer,
      paths: new Set([ROUTES.token, ROUTES.introspection, ROUTES.revocation]),
    }),
  );
  provider.use(tokenTransaction({ database, unitOfWork, metrics, log, path: ROUTES.token }));
  provider.use(formPostPages(deps.pages.renderFormPost));
  provider.use(introspectionAnswers(ROUTES.introspection, metrics));
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

function protocol(deps: ProviderDeps): Configuration {
  const { lifetimes } = deps.config;
  return {
    routes: ROUTES,
    jwks: { keys: deps.signingKeys.map((key) => key.privateJwk as JWK & { kty: string }) as never },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'],
    claims: Object.fromEntries(Object.entries(CLAIMS_BY_SCOPE).map(([scope, claims]) => [scope, [...claims]])),

    // RFC 9700 §2.1.2: no token ever travels through the front channel. The default also has implicit and hybrid types.
    responseTypes: ['code'],
    pkce: {
      // RFC 9700 §2.1.1. The engine's default asks public clients only; it never accepts `plain`.
      required: (_ctx, client) => client.clientAuthMethod === 'none' || requiresPkce(client),
    },
    clientAuthMethods: [...CLIENT_AUTH_METHODS],
    enabledJWA: {
      clientAuthSigningAlgValues: [...CLIENT_ASSERTION_ALGORITHMS],
      idTokenSigningAlgValues: [...SIGNING_ALGORITHMS],
      userinfoSigningAlgValues: [...SIGNING_ALGORITHMS],
    },
    // The default is RS256.
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    extraClientMetadata: { properties: ['require_pkce'] },

    // A client that registered the refresh_token grant gets refresh tokens. Without offline_access they end with the browser
    // session (expiresWithSession, as the engine's default has it); the engine's default gives none at all then.
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    // RFC 9700 §4.14.2: rotation for public clients. A confidential client must authenticate to refresh, and rotation would
    // only strand it when an answer gets lost.
    rotateRefreshToken: (ctx) => ctx.oidc.client?.clientAuthMethod === 'none',
    revokeGrantPolicy: () => true,

    ttl: {
      AuthorizationCode: lifetimes.authorizationCodeSeconds,
      AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? lifetimes.accessTokenSeconds,
      ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? lifetimes.accessTokenSeconds,
      IdToken: lifetimes.idTokenSeconds,
      RefreshToken: lifetimes.refreshTokenSeconds,
      // A grant never lives longer than it was given at first, so it must outlast a whole chain of refresh tokens.
      Grant: lifetimes.refreshTokenSeconds + lifetimes.sessionSeconds,
      Session: lifetimes.sessionSeconds,
      Interaction: lifetimes.interactionSeconds,
    },
    // The clocks of two nodes; the default of 15 s lets an expired token live too long.
    clockTolerance: 5,

    cookies: cookies(deps.config.issuer, deps.cookieKeys),
    interactions: { policy: loginPolicy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    renderError: async (ctx, out, error) =>
      deps.pages.renderError(ctx, out as { error: string; error_description?: string }, error as Error),

    // RFC 6749 §3.1.2.3 lets a client leave redirect_uri out when it has one; OAuth 2.1 and exact matching do not.
    allowOmittingSingleRegisteredRedirectUri: false,
    // RFC 9700 §4.3.2: tokens in query strings end up in logs.
    acceptQueryParamAccessTokens: false,
    enableHttpPostMethods: false,
    // Browser apps may call the token and userinfo endpoints from the origins they are registered with, others not.
    clientBasedCORS: (_ctx, origin, client) =>
      (client.redirectUris ?? []).some((uri) => URL.parse(uri)?.origin === origin),
    // The engine publishes neither, although RFC 8414 §2 has them.
    discovery: {
      introspection_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS.filter((method) => method !== 'none'),
      revocation_endpoint_auth_methods_supported: [...CLIENT_AUTH_METHODS],
    },
  };
}

function requiresPkce(client: Client): boolean {
  return (client as Client & { require_pkce?: boolean }).require_pkce !== false;
}

/** A login or consent page in progress. */
export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;

/** The cookie and the stored interaction or session do not fit (any more). */
export function isSessionNotFound(error: unknown): boolean {
  return error instanceof Error && error.name === 'SessionNotFound';
}
