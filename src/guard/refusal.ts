// Every way in which the guard says no: a closed list of codes, each with its status and its one public sentence.
// The sentence never depends on the token, so that an attacker cannot tell an expired token from a forged one; what exactly
// was wrong is in `reason`, which is for the log and is never sent.

/**
 * - `missing_token` (401): no `Authorization: Bearer` or `DPoP` header
 * - `invalid_dpop_proof` (401): the token is bound to a key, and the proof of that key is wrong, old or used (RFC 9449 §7.1)
 * - `invalid_request` (400): several tokens, or a header that cannot be read
 * - `invalid_token` (401): malformed, forged, expired, revoked, of another issuer or for another audience
 * - `client_not_allowed` (403): a valid token that was issued to a client which is not accepted here
 * - `insufficient_scope` (403): a valid token without a scope that is required here
 * - `temporarily_unavailable` (503): the token could not be checked, so it is not accepted
 */
export type RefusalCode = keyof typeof REFUSALS;

/** RFC 6750 §3.1 for the first codes it knows; it allows others. The texts keep to the characters of `error_description`. */
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

/** Long enough not to hammer an authorization server that is starting, short enough for a person who waits. */
const RETRY_AFTER_SECONDS = 5;

/** Inside the guard: a refusal that does not know the realm yet. `message` is the reason for the log. */
export class Fault extends Error {
  readonly code: RefusalCode;
  /** with which the token must come back; undefined: as it came */
  readonly scheme: 'DPoP' | undefined;

  constructor(code: RefusalCode, reason: string, options?: ErrorOptions & { scheme?: 'DPoP' }) {
    super(reason, options);
    this.name = 'Fault';
    this.code = code;
    this.scheme = options?.scheme ?? (code === 'invalid_dpop_proof' ? 'DPoP' : undefined);
  }
}

/**
 * What `guard.check` throws: a complete answer for the caller. Send `status`, `headers` and `body` (as JSON); log `reason`
 * and `cause`. Neither contains the token.
 */
export class GuardRefusal extends Error {
  readonly code: RefusalCode;
  readonly status: 400 | 401 | 403 | 503;
  /** `WWW-Authenticate` (RFC 6750 §3) for 4xx, `Retry-After` in seconds for 503; `Cache-Control` always */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: RefusalCode; readonly error_description: string };
  /** for the log only */
  readonly reason: string;

  constructor(fault: Fault, context: ChallengeContext) {
    const { status, description } = REFUSALS[fault.code];
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
  /** what a caller with this fault should come back with, the better known first */
  readonly schemes: readonly ('Bearer' | 'DPoP')[];
  readonly dpopAlgorithms: readonly string[];
  /** RFC 9728 §5.1 */
  readonly metadataUrl: URL | undefined;
}

/** RFC 9110 §11.6.1: one challenge for each scheme that would do. */
function challenge(code: RefusalCode, description: string, context: ChallengeContext): string {
  const parameters: [string, string][] = [['realm', context.realm]];
  // RFC 6750 §3.1: without any authentication information the answer SHOULD NOT include an error code.
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

/** RFC 9110 §5.6.4 quoted-string, of printable ASCII only: anything else could end the header or make Node refuse it. */
function quote(value: string): string {
  return `"${value.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`;
}
