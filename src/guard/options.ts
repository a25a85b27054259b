// What a guard is configured with, checked wholly when it is created: a mistake here stops the resource server at start
// instead of letting somebody in later.

import type { HttpRequestLike } from './credentials.ts';
import { createReplayStore, type ReplayStore } from './proof-of-possession/replay-store.ts';
import type { ConstraintSettings } from './proof-of-possession/sender-constraint.ts';
import type { GuardRefusal } from './refusal.ts';

/** How the guard introduces itself at the introspection endpoint, and how it asks. */
export interface IntrospectionOptions {
  /** URL of the introspection endpoint; default: `introspection_endpoint` of the issuer's discovery document */
  readonly endpoint?: string;
  /** the client of this resource server (`introspection_client_id`), which asks with `client_secret_basic` */
  readonly clientId: string;
  readonly clientSecret: string;
  /**
   * How long a positive answer is reused, in seconds; never beyond the `exp` of the token. Default 0: every request asks.
   * A revocation takes up to this long to be seen. Negative answers are never reused.
   */
  readonly cacheSeconds?: number;
  /** for the whole exchange, in milliseconds; default 5000. What takes longer is answered with 503 */
  readonly timeoutMs?: number;
}

/** RFC 9449. Tokens that are bound to a key are always checked; these options change how. */
export interface DpopOptions {
  /** refuse tokens that are not bound to a key; default false */
  readonly required?: boolean;
  /** accepted signature algorithms of proofs; default `['ES256', 'PS256', 'Ed25519', 'EdDSA']` */
  readonly algorithms?: readonly string[];
  /** how old a proof may be, in seconds; default 60 */
  readonly maxAgeSeconds?: number;
  /** default: the memory of this process, up to 200,000 proofs. An API in several processes needs one that they share. */
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
  /** the authorization server, exactly as in its discovery document, e.g. `https://id.example.com` */
  readonly issuer: string;
  /** the identifier of this API, or several; the token must name at least one of them in `aud` */
  readonly audience: string | readonly string[];
  /**
   * The allow-list: ids of the clients whose tokens are accepted. Deny by default: an empty list refuses everybody.
   * A function is called for every request with a valid token; if it throws, the answer is 503.
   *
   * `'granted'` leaves the list to the issuer: whichever client has a grant for this API there, asked again at every
   * introspection. It is for APIs whose clients register themselves, and needs mode `'introspection'` without a cache, because
   * only then a grant that is taken away counts.
   */
  readonly clients: readonly string[] | (() => Promise<readonly string[]> | readonly string[]) | 'granted';
  /** scopes that every request needs, all of them; default none */
  readonly scopes?: readonly string[];
  /**
   * - `'jwt'`: verify the signature here; no request to the issuer per token, but a revocation is not seen before `exp`
   * - `'introspection'`: ask the issuer about every token (RFC 7662); a revocation counts at once
   * - `{ verify }`: ask in process. It resolves to the claims, or to undefined for a token that is not (any more) valid;
   *   if it throws, the answer is 503. Audience, expiry, client and scopes are still checked by the guard.
   */
  readonly mode:
    | 'jwt'
    | 'introspection'
    | { readonly verify: (token: string) => Promise<Readonly<Record<string, unknown>> | undefined> };
  /** accepted signature algorithms, asymmetric only; default `['ES256']` (what Lanyard signs access tokens with) */
  readonly algorithms?: readonly string[];
  /** how far the clocks of issuer and resource server may be apart, in seconds; default 5 */
  readonly clockToleranceSeconds?: number;
  /** URL of the issuer's public keys; default: `jwks_uri` of the issuer's discovery document */
  readonly jwksUri?: string;
  /** how long the public keys are used before they are fetched again, in seconds; default 600 */
  readonly jwksCacheSeconds?: number;
  /** after a fetch, how long unknown key ids do not cause another one, in seconds; default 30 */
  readonly jwksCooldownSeconds?: number;
  /** needed for mode `'introspection'` */
  readonly introspection?: IntrospectionOptions;
  /**
   * Where clients call this API, e.g. `https://api.example.com/orders` when the path of a request comes behind that. DPoP proofs
   * are for this address. Default: the origin of the first http(s) audience.
   */
  readonly publicUrl?: string;
  readonly dpop?: DpopOptions;
  /** serve protected resource metadata (RFC 9728), and point to it in refusals; needs an http(s) audience */
  readonly metadata?: MetadataOptions;
  /**
   * Finds the client's certificate in a request that came through a proxy which terminates TLS, e.g.
   * `certificateFromHeader('client-cert', ['10.0.0.1'])`. Only behind a proxy that always sets or removes that header. Default:
   * the certificate of the TLS connection itself.
   */
  readonly clientCertificate?: (request: HttpRequestLike) => Uint8Array | undefined;
  /** default: the global `fetch` */
  readonly fetch?: typeof fetch;
  /** `realm` of the WWW-Authenticate header; default: the (first) audience */
  readonly realm?: string;
  /** called with every refusal before it is thrown, for logs and metrics; `reason` and `cause` say what was wrong */
  readonly onRefusal?: (refusal: GuardRefusal) => void;
}

/**
 * Signatures that only the holder of a private key can make. With HS256 the public key, which everybody has, would be the
 * secret; `none` needs no key at all. (RFC 8725 §3.1, §3.2)
 */
const ASYMMETRIC_ALGORITHM = /^(?:(?:ES|RS|PS)(?:256|384|512)|EdDSA|Ed25519|ML-DSA-(?:44|65|87))$/;

/** RFC 6749 §3.3: scope-token */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

export interface GuardSettings extends Omit<GuardOptions, 'audience' | 'scopes' | 'algorithms'> {
  readonly constraint: ConstraintSettings;
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  readonly algorithms: readonly string[];
  readonly clockToleranceSeconds: number;
  readonly jwksCacheSeconds: number;
  readonly jwksCooldownSeconds: number;
  readonly fetch: typeof fetch;
  readonly realm: string;
}

/** @throws TypeError naming the option that is missing or cannot be meant */
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
  assertDuration('clockToleranceSeconds', settings.clockToleranceSeconds);
  assertDuration('jwksCacheSeconds', settings.jwksCacheSeconds);
  assertDuration('jwksCooldownSeconds', settings.jwksCooldownSeconds);
  if (settings.jwksUri !== undefined) assertUrl('jwksUri', settings.jwksUri);
  assertMode(settings);
  if (settings.clients === 'granted') {
    const asksEveryTime = settings.mode === 'introspection' && (settings.introspection?.cacheSeconds ?? 0) === 0;
    assertOption('clients', asksEveryTime, "'granted' needs mode 'introspection' without cacheSeconds");
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
  return {
    isRequired: dpop.required === true,
    publicUrl: publicUrl !== undefined ? new URL(publicUrl) : audience && new URL(new URL(audience).origin),
    proofs: {
      algorithms,
      maxAgeSeconds: dpop.maxAgeSeconds ?? 60,
      clockToleranceSeconds: options.clockToleranceSeconds ?? 5,
      replayStore: dpop.replayStore ?? createReplayStore(),
    },
  } as ConstraintSettings;
}

/** @throws TypeError for anything but an array: `'orders-web'.includes('web')` is true as well */
export function parseClientIds(clients: unknown): readonly string[] {
  assertOption('clients', Array.isArray(clients) && clients.every(isFilled), 'must be an array of client ids');
  return [...(clients as string[])];
}

/** @throws TypeError for anything but an array of scope tokens */
export function parseScopes(scopes: unknown): readonly string[] {
  assertOption(
    'scopes',
    Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string' && SCOPE.test(scope)),
    'must be an array of scopes, one per element',
  );
  return [...(scopes as string[])];
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

function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function assertUrl(name: string, value: unknown): void {
  assertOption(name, isHttpUrl(value), 'must be an absolute http(s) URL');
}

function isHttpUrl(value: unknown): boolean {
  return typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}

function assertDuration(name: string, value: unknown): void {
  assertOption(name, typeof value === 'number' && value >= 0 && value < Infinity, 'must be 0 or more');
}

function assertOption(name: string, isRight: boolean, problem: string): asserts isRight {
  if (!isRight) throw new TypeError(`createGuard: ${name} ${problem}`);
}
