// The options of a guard. All of them are checked when it is created, so that a mistake stops the
// resource server at start instead of letting requests pass later.

import { ACCESS_TOKEN_TYPES, type AccessTokenType } from './access-token-type.ts';
import type { HttpRequestLike } from './credentials.ts';
import { assertDuration, assertOption, assertUrl, isFilled, isHttpUrl } from './option-checks.ts';
import { createReplayStore, type ReplayStore } from './proof-of-possession/replay-store.ts';
import type { ConstraintSettings } from './proof-of-possession/sender-constraint.ts';
import type { GuardRefusal } from './refusal.ts';

/** How the guard calls the introspection endpoint. */
export interface IntrospectionOptions {
  /** default: `introspection_endpoint` of the issuer's discovery document */
  readonly endpoint?: string;
  /** the client of this resource server (`introspection_client_id`); uses `client_secret_basic` */
  readonly clientId: string;
  readonly clientSecret: string;
  /**
   * How long the response for an active token is cached, in seconds; never beyond its `exp`.
   * Default 0: no cache. A revocation takes effect after this time. Responses for inactive tokens
   * are not cached.
   */
  readonly cacheSeconds?: number;
  /** for the whole exchange, in milliseconds; default 5000. After that the guard answers 503 */
  readonly timeoutMs?: number;
}

/** RFC 9449. The proof for a token that is bound to a key is always checked. */
export interface DpopOptions {
  /** refuse tokens that are not bound to a key; default false */
  readonly required?: boolean;
  /** accepted signature algorithms of proofs; default `['ES256', 'PS256', 'Ed25519', 'EdDSA']` */
  readonly algorithms?: readonly string[];
  /** how old a proof may be, in seconds; default 60 */
  readonly maxAgeSeconds?: number;
  /** default: in memory, up to 200,000 proofs. An API in several processes needs a shared store. */
  readonly replayStore?: ReplayStore;
}

/** RFC 9728 */
export interface MetadataOptions {
  /** `resource_name`, for people */
  readonly name?: string;
  /** `resource_documentation`, a URL for developers */
  readonly documentation?: string;
  /** `scopes_supported`; default: the scopes of the guard */
  readonly scopesSupported?: readonly string[];
}

export interface GuardOptions {
  /** the authorization server as its discovery document names it, e.g. `https://id.example.com` */
  readonly issuer: string;
  /** the identifier of this API, or several; the token must name at least one of them in `aud` */
  readonly audience: string | readonly string[];
  /**
   * The allow-list: ids of the clients whose tokens are accepted. An empty list refuses all.
   * A function is called for every request with a valid token; if it throws, the answer is 503.
   *
   * `'granted'` accepts every client that has a grant for this API at the issuer, which checks it
   * at every introspection. It is for APIs with dynamically registered clients. It requires mode
   * `'introspection'` without a cache, so that a removed grant takes effect at once.
   */
  readonly clients: readonly string[] | (() => Promise<readonly string[]> | readonly string[]) | 'granted';
  /** scopes that every request requires, all of them; default none */
  readonly scopes?: readonly string[];
  /**
   * - `'jwt'`: verify the signature here; no request to the issuer per token, but a revoked token
   *   is accepted until its `exp`
   * - `'introspection'`: call the issuer for every token (RFC 7662); a revocation counts at once
   * - `{ verify }`: call a function. It resolves to the claims, or to undefined for an invalid
   *   token; if it throws, the guard answers 503. The guard still checks audience, expiry, client
   *   and scopes.
   */
  readonly mode:
    | 'jwt'
    | 'introspection'
    | { readonly verify: (token: string) => Promise<Readonly<Record<string, unknown>> | undefined> };
  /**
   * accepted signature algorithms, asymmetric only; default `['ES256']`. For an API with another
   * `access_token_signing_alg` they must name that.
   */
  readonly algorithms?: readonly string[];
  /**
   * accepted `typ` of access tokens, for mode `'jwt'`; default `['at+jwt']` (RFC 9068). `'JWT'` is for
   * an API with `access_token_typ` `JWT`: such a token must have `client_id`, `azp` and `jti`, and no
   * claim of another kind of JWT, so that an ID token is refused either way.
   */
  readonly types?: readonly AccessTokenType[];
  /** how much the clocks of issuer and resource server may differ, in seconds; default 5 */
  readonly clockToleranceSeconds?: number;
  /** URL of the issuer's public keys; default: `jwks_uri` of the issuer's discovery document */
  readonly jwksUri?: string;
  /** how long the public keys are used before they are fetched again, in seconds; default 600 */
  readonly jwksCacheSeconds?: number;
  /** after a fetch, how long unknown key ids do not cause another one, in seconds; default 30 */
  readonly jwksCooldownSeconds?: number;
  /** required in mode `'introspection'` */
  readonly introspection?: IntrospectionOptions;
  /**
   * The base URL of this API as clients use it, e.g. `https://api.example.com/orders`; the path of
   * a request is appended to it. DPoP proofs are for that URL. Default: the origin of the first
   * http(s) audience.
   */
  readonly publicUrl?: string;
  readonly dpop?: DpopOptions;
  /** serve protected resource metadata (RFC 9728); requires an http(s) audience */
  readonly metadata?: MetadataOptions;
  /**
   * Reads the client's certificate behind a proxy that terminates TLS, e.g.
   * `certificateFromHeader('client-cert', ['10.0.0.1'])`. The proxy must set or remove that header
   * at every request. Default: the certificate of the TLS connection.
   */
  readonly clientCertificate?: (request: HttpRequestLike) => Uint8Array | undefined;
  /** default: the global `fetch` */
  readonly fetch?: typeof fetch;
  /** `realm` of the WWW-Authenticate header; default: the (first) audience */
  readonly realm?: string;
  /** called with every refusal before it is thrown, for logs and metrics */
  readonly onRefusal?: (refusal: GuardRefusal) => void;
}

/** RFC 8725 §3.1, §3.2: no `none`, and no HS256, whose key an attacker could take from the JWKS. */
const ASYMMETRIC_ALGORITHM = /^(?:(?:ES|RS|PS)(?:256|384|512)|EdDSA|Ed25519|ML-DSA-(?:44|65|87))$/;

/** RFC 6749 §3.3: scope-token */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

export interface GuardSettings extends Omit<GuardOptions, 'audience' | 'scopes' | 'algorithms' | 'types'> {
  readonly constraint: ConstraintSettings;
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  readonly algorithms: readonly string[];
  readonly types: readonly AccessTokenType[];
  readonly clockToleranceSeconds: number;
  readonly jwksCacheSeconds: number;
  readonly jwksCooldownSeconds: number;
  readonly fetch: typeof fetch;
  readonly realm: string;
}

/** @throws TypeError naming the option that is missing or invalid */
export function parseOptions(options: GuardOptions): GuardSettings {
  const audiences = typeof options.audience === 'string' ? [options.audience] : [...(options.audience ?? [])];
  const settings: GuardSettings = {
    ...options,
    audiences,
    clients:
      typeof options.clients === 'function' || options.clients === 'granted'
        ? options.clients
        : parseClientIds(options.clients),
    scopes: parseScopes(options.scopes ?? []),
    algorithms: [...(options.algorithms ?? ['ES256'])],
    types: [...(options.types ?? ['at+jwt'])],
    clockToleranceSeconds: options.clockToleranceSeconds ?? 5,
    jwksCacheSeconds: options.jwksCacheSeconds ?? 600,
    jwksCooldownSeconds: options.jwksCooldownSeconds ?? 30,
    fetch: options.fetch ?? fetch,
    realm: options.realm ?? audiences[0] ?? '',
    constraint: parseConstraint(options, audiences),
  };
  assertUrl('issuer', settings.issuer);
  assertOption('audience', audiences.length > 0 && audiences.every(isFilled), 'needs at least one value');
  assertOption(
    'algorithms',
    settings.algorithms.length > 0 && settings.algorithms.every((name) => ASYMMETRIC_ALGORITHM.test(name)),
    'takes asymmetric signature algorithms only, e.g. ES256',
  );
  const areTypes = settings.types.length > 0 && settings.types.every((name) => ACCESS_TOKEN_TYPES.includes(name));
  assertOption('types', areTypes, "takes 'at+jwt' and 'JWT' only");
  assertDuration('clockToleranceSeconds', settings.clockToleranceSeconds);
  assertDuration('jwksCacheSeconds', settings.jwksCacheSeconds);
  assertDuration('jwksCooldownSeconds', settings.jwksCooldownSeconds);
  if (settings.jwksUri !== undefined) assertUrl('jwksUri', settings.jwksUri);
  assertMode(settings);
  if (settings.clients === 'granted') {
    const isUncached = settings.mode === 'introspection' && (settings.introspection?.cacheSeconds ?? 0) === 0;
    assertOption('clients', isUncached, "'granted' needs mode 'introspection' without cacheSeconds");
  }
  if (settings.metadata !== undefined) {
    assertOption('metadata', settings.audiences.some(isHttpUrl), 'needs an audience that is an http(s) URL');
  }
  return settings;
}

function parseConstraint(options: GuardOptions, audiences: readonly string[]): ConstraintSettings {
  const { dpop = {}, publicUrl } = options;
  const algorithms = [...(dpop.algorithms ?? ['ES256', 'PS256', 'Ed25519', 'EdDSA'])];
  const areAsymmetric = algorithms.length > 0 && algorithms.every((name) => ASYMMETRIC_ALGORITHM.test(name));
  assertOption('dpop.algorithms', areAsymmetric, 'takes asymmetric signature algorithms only, e.g. ES256');
  assertDuration('dpop.maxAgeSeconds', dpop.maxAgeSeconds ?? 60);
  if (publicUrl !== undefined) assertUrl('publicUrl', publicUrl);
  const audience = audiences.find(isHttpUrl);
  const origin = audience === undefined ? undefined : new URL(new URL(audience).origin);
  return {
    isRequired: dpop.required === true,
    publicUrl: publicUrl === undefined ? origin : new URL(publicUrl),
    proofs: {
      algorithms,
      maxAgeSeconds: dpop.maxAgeSeconds ?? 60,
      clockToleranceSeconds: options.clockToleranceSeconds ?? 5,
      replayStore: dpop.replayStore ?? createReplayStore(),
    },
  };
}

/** @throws TypeError for a string, whose `includes` would match a part of a client id */
export function parseClientIds(clients: unknown): readonly string[] {
  assertOption('clients', isListOf(clients, isFilled), 'must be an array of client ids');
  return [...clients];
}

/** @throws TypeError for anything but an array of scope tokens */
export function parseScopes(scopes: unknown): readonly string[] {
  assertOption('scopes', isListOf(scopes, isScope), 'must be an array of scopes, one per element');
  return [...scopes];
}

function isListOf(value: unknown, isItem: (item: unknown) => item is string): value is readonly string[] {
  return Array.isArray(value) && value.every(isItem);
}

function isScope(value: unknown): value is string {
  return typeof value === 'string' && SCOPE.test(value);
}

function assertMode({ mode, introspection }: GuardSettings): void {
  if (mode === 'introspection') {
    assertOption('introspection', introspection !== undefined, 'is needed for this mode');
    if (introspection.endpoint !== undefined) assertUrl('introspection.endpoint', introspection.endpoint);
    assertOption('introspection.clientId', isFilled(introspection.clientId), 'is needed');
    assertOption('introspection.clientSecret', isFilled(introspection.clientSecret), 'is needed');
    assertDuration('introspection.cacheSeconds', introspection.cacheSeconds ?? 0);
    assertOption('introspection.timeoutMs', (introspection.timeoutMs ?? 1) > 0, 'must be more than 0');
    return;
  }
  const isVerifier = typeof mode === 'object' && typeof mode?.verify === 'function';
  assertOption('mode', mode === 'jwt' || isVerifier, "must be 'jwt', 'introspection' or { verify }");
}
