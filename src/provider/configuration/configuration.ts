// The configuration of the engine: routes, algorithms, lifetimes, cookies, what a client may leave
// out, which features are on (features.ts), what a security profile demands (fapi.ts). Every value
// that differs from the engine's default has its reason beside it. What reaches the database is
// passed in by engine.ts.

import type { AsymmetricSigningAlgorithm, Configuration } from 'oidc-provider';
import { CERTIFICATE_AUTH_METHODS, CLIENT_AUTH_METHODS, OPENID_SCOPES } from '../../clients/client.ts';
import type { Config } from '../../config/config.ts';
import { ACCESS_TOKEN_ALGORITHM, type SigningKey } from '../../keys/key-ring.ts';
import { CLAIMS_BY_SCOPE } from '../../users/user.ts';
import { asksForSectorDocument, extraClientMetadata } from '../clients/engine-metadata.ts';
import { endpointAliases, type ReadClientCertificate } from '../clients/mutual-tls.ts';
import type { PairwiseIdentifier } from '../clients/pairwise.ts';
import { DEVICE_CODE_SECONDS } from '../grants/device-flow.ts';
import type { Pages } from '../http/pages.ts';
import { DROPPED_SCOPE } from '../http/parameters.ts';
import type { AdminApi } from '../policy/default-resource.ts';
import { isPagePath, ROUTES } from '../routes.ts';
import { assertAudience } from './assertion-audience.ts';
import { cookies } from './cookies.ts';
import { assertClientAssertion, CLOCK_TOLERANCE_SECONDS, codeSeconds } from './fapi.ts';
import { LOGIN_PROMPTS, loginPolicy, PASSWORD_ACR } from './login-policy.ts';
import { expiresWithSession, keepAllDropped } from './offline-access.ts';
import { requirePkce } from './pkce.ts';
import { resourceParameters } from './resource-parameters.ts';
import { BatchSigningKey } from './signing-keys.ts';

/**
 * What clients sign with. Asymmetric only: with hashed secrets there is no key for HS256. RS256 for
 * older client libraries; EdDSA is the name of Ed25519 before RFC 9864.
 */
const CLIENT_ALGORITHMS = ['ES256', 'PS256', 'RS256', 'Ed25519', 'EdDSA'] as const;
/** No library for RFC 9449 needs RS256. */
const DPOP_ALGORITHMS = CLIENT_ALGORITHMS.filter((alg) => alg !== 'RS256');

export interface ConfigurationDeps {
  readonly config: Pick<Config, 'issuer' | 'lifetimes' | 'limits' | 'registration' | 'mutualTls'>;
  readonly adminApi: AdminApi;
  /** 256 bits; the same on all nodes */
  readonly dpopNonceSecret: Buffer;
  readonly pairwiseIdentifier: PairwiseIdentifier;
  readonly pages: Pick<Pages, 'renderError'>;
  /** undefined: clients cannot present certificates here */
  readonly readClientCertificate: ReadClientCertificate | undefined;
  /** for keys and documents of clients */
  readonly fetch: typeof fetch;
}

/** What changes while the server runs. */
export interface EngineKeys {
  /** in the order in which they are to be tried */
  readonly signingKeys: readonly SigningKey[];
  /** the first signs, all verify */
  readonly cookieKeys: readonly string[];
}

export function configuration(deps: ConfigurationDeps, keys: EngineKeys): Configuration {
  const { issuer, lifetimes, mutualTls } = deps.config;
  const authMethods = [
    ...CLIENT_AUTH_METHODS,
    ...(deps.readClientCertificate === undefined ? [] : CERTIFICATE_AUTH_METHODS),
  ];
  return {
    ...RESTRICTIONS,
    routes: ROUTES,
    jwks: { keys: keys.signingKeys.map((key) => new BatchSigningKey(key)) },
    enabledJWA: algorithms(keys),
    cookies: cookies(issuer, keys.cookieKeys),
    scopes: [...OPENID_SCOPES],
    extraParams: { ...resourceParameters(deps.adminApi.identifier), [DROPPED_SCOPE]: keepAllDropped },
    claims: {
      ...Object.fromEntries(Object.entries(CLAIMS_BY_SCOPE).map(([scope, claims]) => [scope, [...claims]])),
      // Every ID token says how and when the user signed in (OpenID Connect Core §2), asked for or
      // not.
      openid: ['sub', 'acr', 'amr', 'auth_time'],
    },
    acrValues: [PASSWORD_ACR],
    clientAuthMethods: authMethods,
    subjectTypes: ['public', 'pairwise'],
    pairwiseIdentifier: async (_ctx, accountId, client) => deps.pairwiseIdentifier(client, accountId),
    ttl: timesToLive(lifetimes),
    interactions: { policy: loginPolicy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    // The engine calls it when `Accept` prefers HTML, as that of Java's HttpURLConnection does.
    async renderError(ctx, out, error) {
      if (!isPagePath(ctx.path)) ctx.body = out;
      else await deps.pages.renderError(ctx, out as { error: string; error_description?: string }, error as Error);
    },
    // The engine passes an outbound guard of its own, which a global proxy would switch off; ours
    // does not depend on that.
    fetch: (url, options) => deps.fetch(url as string, options as RequestInit),
    // The engine publishes none of them, although RFC 8414 §2 and Initiating User Registration via
    // OpenID Connect §3 have them.
    discovery: {
      registration_endpoint: `${issuer}/oauth2/register`,
      introspection_endpoint_auth_methods_supported: authMethods.filter((method) => method !== 'none'),
      revocation_endpoint_auth_methods_supported: authMethods,
      prompt_values_supported: ['none', ...LOGIN_PROMPTS, 'consent'],
      ...endpointAliases(mutualTls.origin, ROUTES),
    },
  };
}

/** What is the same for every installation. */
const RESTRICTIONS = {
  // RFC 9700 §2.1.2: no token is sent through the front channel. The default also has implicit and
  // hybrid types.
  responseTypes: ['code'],
  // The engine never accepts `plain`.
  pkce: { required: requirePkce },
  // Every client has this member (clients/client). The engine signs a JWT access token with it where
  // the resource server names no algorithm.
  clientDefaults: { id_token_signed_response_alg: ACCESS_TOKEN_ALGORITHM },
  extraClientMetadata,
  sectorIdentifierUriValidate: asksForSectorDocument,
  async assertJwtClientAuthClaimsAndHeader(ctx, claims, header, client) {
    assertAudience(ctx, claims.aud, client);
    assertClientAssertion(claims, header, client);
  },
  expiresWithSession,
  revokeGrantPolicy: () => true,
  // The default of 15 s lets an expired token live too long.
  clockTolerance: CLOCK_TOLERANCE_SECONDS,
  // RFC 6749 §3.1.2.3 lets a client leave redirect_uri out when it has one; OAuth 2.1 and exact
  // matching do not.
  allowOmittingSingleRegisteredRedirectUri: false,
  // RFC 9700 §4.3.2: tokens in query strings end up in logs.
  acceptQueryParamAccessTokens: false,
  // The engine would need cookies that every site's requests carry (SameSite=None); see
  // posted-requests.
  enableHttpPostMethods: false,
  // Browser apps may call the token and userinfo endpoints from the origins of their redirect URIs
  // only.
  clientBasedCORS(ctx, origin, client) {
    if ((client.redirectUris ?? []).some((uri) => URL.parse(uri)?.origin === origin)) return true;
    // A client that authenticates is no app in a browser, but what it is built on may send the header.
    // It is answered, and no page may read that; the engine would refuse the request.
    if (client.clientAuthMethod === 'none') return false;
    ctx.remove('Access-Control-Allow-Origin');
    ctx.remove('Access-Control-Expose-Headers');
    return true;
  },
} satisfies Configuration;

function algorithms({ signingKeys }: EngineKeys): NonNullable<Configuration['enabledJWA']> {
  // Neither HS256 nor none, whose signatures are of no published key.
  const signing = [...new Set(signingKeys.map(({ alg }) => alg))] as AsymmetricSigningAlgorithm[];
  return {
    clientAuthSigningAlgValues: [...CLIENT_ALGORITHMS],
    requestObjectSigningAlgValues: [...CLIENT_ALGORITHMS],
    dPoPSigningAlgValues: [...DPOP_ALGORITHMS],
    idTokenSigningAlgValues: signing,
    userinfoSigningAlgValues: signing,
    authorizationSigningAlgValues: signing,
    introspectionSigningAlgValues: signing,
  };
}

function timesToLive(lifetimes: Config['lifetimes']): NonNullable<Configuration['ttl']> {
  return {
    AuthorizationCode: (_ctx, _code, client) => codeSeconds(lifetimes.authorizationCodeSeconds, client),
    AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? lifetimes.accessTokenSeconds,
    ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? lifetimes.accessTokenSeconds,
    DeviceCode: DEVICE_CODE_SECONDS,
    IdToken: lifetimes.idTokenSeconds,
    RefreshToken: lifetimes.refreshTokenSeconds,
    // A grant is never extended, so it must outlast a whole chain of refresh tokens.
    Grant: lifetimes.refreshTokenSeconds + lifetimes.sessionSeconds,
    // One that nobody has signed in to holds no more than a page.
    Session: (_ctx, { accountId }) =>
      accountId === undefined
        ? Math.min(lifetimes.interactionSeconds, lifetimes.sessionSeconds)
        : lifetimes.sessionSeconds,
    Interaction: lifetimes.interactionSeconds,
  };
}
