// The refusals of the guard: a closed list of codes, each with one status and one public text. The
// text does not depend on the token, so that an attacker cannot tell an expired token from a forged
// one; but a header that the API never accepts is named, because its options have to change. The
// exact reason is for the log only.

/**
 * - `missing_token` (401): no `Authorization: Bearer` or `DPoP` header
 * - `invalid_dpop_proof` (401): the token is bound to a key, and the proof is missing, invalid, too
 *   old or used before (RFC 9449 §7.1)
 * - `invalid_request` (400): several tokens, or a malformed header
 * - `invalid_token` (401): malformed, forged, expired, revoked, of another issuer or for another
 *   audience
 * - `client_not_allowed` (403): a valid token of a client that is not accepted here
 * - `insufficient_scope` (403): a valid token without a scope that is required here
 * - `temporarily_unavailable` (503): the token could not be checked, so it is not accepted
 */
export type RefusalCode = keyof typeof REFUSALS;

/** The descriptions use the characters that RFC 6750 §3 allows in `error_description`. */
const REFUSALS = {
  missing_token: { status: 401, description: 'this API needs an access token in the Authorization header' },
  invalid_request: { status: 400, description: 'the Authorization header must carry exactly one token' },
  invalid_token: {
    status: 401,
    description: 'the access token is malformed, expired, revoked or not meant for this API',
  },
  invalid_dpop_proof: { status: 401, description: 'the DPoP proof is missing, wrong or was used before' },
  client_not_allowed: { status: 403, description: 'the access token was issued to a client that is not allowed here' },
  insufficient_scope: { status: 403, description: 'the access token lacks a scope that is needed here' },
  temporarily_unavailable: { status: 503, description: 'access tokens cannot be checked at the moment' },
} as const;

/** Long enough to spare an authorization server that is starting, short enough for a user. */
const RETRY_AFTER_SECONDS = 5;

/** A refusal inside the guard, without the challenge. `message` is the reason for the log. */
export class Fault extends Error {
  readonly code: RefusalCode;
  /** the scheme that the token requires; undefined: the one that was used */
  readonly scheme: 'DPoP' | undefined;
  /** in place of the text of its code; without quotes and backslashes (RFC 6750 §3) */
  readonly description: string | undefined;

  constructor(code: RefusalCode, reason: string, options?: ErrorOptions & { scheme?: 'DPoP'; description?: string }) {
    super(reason, options);
    this.name = 'Fault';
    this.code = code;
    this.scheme = options?.scheme ?? (code === 'invalid_dpop_proof' ? 'DPoP' : undefined);
    this.description = options?.description;
  }
}

/**
 * The error that `guard.check` throws, with the complete response. Send `status`, `headers` and
 * `body` (as JSON); log `reason` and `cause`. Neither contains the token.
 */
export class GuardRefusal extends Error {
  readonly code: RefusalCode;
  readonly status: 400 | 401 | 403 | 503;
  /** `Cache-Control`, and `WWW-Authenticate` (RFC 6750 §3) for 4xx or `Retry-After` for 503 */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: RefusalCode; readonly error_description: string };
  /** for the log only */
  readonly reason: string;

  constructor(fault: Fault, context: ChallengeContext) {
    const { status, description: fixed } = REFUSALS[fault.code];
    const description = fault.description ?? fixed;
    super(description, fault.cause === undefined ? undefined : { cause: fault.cause });
    this.name = 'GuardRefusal';
    this.code = fault.code;
    this.status = status;
    this.reason = fault.message;
    this.body = { error: fault.code, error_description: description };
    this.headers = {
      'Cache-Control': 'no-store',
      ...(status === 503
        ? { 'Retry-After': String(RETRY_AFTER_SECONDS) }
        : { 'WWW-Authenticate': challenge(fault.code, description, context) }),
    };
  }
}

export interface ChallengeContext {
  readonly realm: string;
  readonly requiredScopes: readonly string[];
  /** the schemes to offer, in this order */
  readonly schemes: readonly ('Bearer' | 'DPoP')[];
  readonly dpopAlgorithms: readonly string[];
  /** RFC 9728 §5.1 */
  readonly metadataUrl: URL | undefined;
}

/** RFC 9110 §11.6.1: one challenge for each accepted scheme. */
function challenge(code: RefusalCode, description: string, context: ChallengeContext): string {
  const parameters: [string, string][] = [['realm', context.realm]];
  // RFC 6750 §3.1: without authentication information there SHOULD NOT be an error code.
  if (code !== 'missing_token') parameters.push(['error', code], ['error_description', description]);
  if (code === 'insufficient_scope') parameters.push(['scope', context.requiredScopes.join(' ')]);
  if (context.metadataUrl !== undefined) parameters.push(['resource_metadata', context.metadataUrl.href]);
  const challenges = context.schemes.map((scheme): string => {
    // RFC 9449 §7.1
    const all = scheme === 'DPoP' ? [...parameters, ['algs', context.dpopAlgorithms.join(' ')] as const] : parameters;
    return `${scheme} ${all.map(([name, value]) => `${name}=${quote(value)}`).join(', ')}`;
  });
  return challenges.join(', ');
}

/** RFC 9110 §5.6.4 quoted-string, of printable ASCII only: Node refuses other characters. */
function quote(value: string): string {
  return `"${value.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`;
}
