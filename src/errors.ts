// The closed list of errors that Lanyard's own endpoints (admin API, pages, health, metrics) answer
// with. The engine has its own list for the OAuth endpoints. Each code has one status and one
// title; `detail` is written for the caller and never carries a secret; `cause` is for the log
// only. Anything that is not an AppError becomes `internal_error` with a request id.

const ERRORS = {
  malformed_request: { status: 400, title: 'Malformed request' },
  validation_failed: { status: 400, title: 'Invalid request' },
  invalid_cursor: { status: 400, title: 'Invalid cursor' },
  foreign_origin: { status: 403, title: 'The form was sent from another site' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  already_exists: { status: 409, title: 'Already exists' },
  conflict: { status: 409, title: 'Conflict with the current state' },
  precondition_failed: { status: 412, title: 'Changed since it was read' },
  content_too_large: { status: 413, title: 'Request body too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  misdirected_request: { status: 421, title: 'Misdirected request' },
  too_many_requests: { status: 429, title: 'Too many attempts' },
  internal_error: { status: 500, title: 'Internal server error' },
  overloaded: { status: 503, title: 'Server too busy' },
  database_unavailable: { status: 503, title: 'Database unavailable' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** `pointer` is a JSON Pointer (RFC 6901) into the body, or `?name` for a query parameter. */
export interface FaultyMember {
  readonly pointer: string;
  readonly detail: string;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  /** safe to show to the caller */
  readonly detail: string;
  readonly faults: readonly FaultyMember[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { faults?: readonly FaultyMember[]; cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.status = ERRORS[code].status;
    this.title = ERRORS[code].title;
    this.detail = detail;
    this.faults = options.faults ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The error that asks the caller to come back later (429, 503), which this one is, or was made of. */
export function unavailabilityIn(error: unknown): AppError | undefined {
  const candidates = [error, (error as { cause?: unknown } | undefined)?.cause];
  return candidates.find((candidate): candidate is AppError => {
    return candidate instanceof AppError && (candidate.status === 503 || candidate.status === 429);
  });
}

export function notFound(what: string): AppError {
  return new AppError('not_found', `${what} does not exist`);
}

/**
 * To which version of a resource a change may be made: to this one, or to those that fulfil the conditions of the request
 * (RFC 9110 §13.1); undefined is the version of what does not exist.
 */
export type VersionCondition = number | undefined | ((version: number | undefined) => boolean);

/** @param ifVersion undefined: to any */
export function assertVersion(ifVersion: VersionCondition, version: number | undefined): void {
  const mayChange = typeof ifVersion === 'function' ? ifVersion(version) : [version, undefined].includes(ifVersion);
  if (!mayChange) throw new AppError('precondition_failed', 'read it again and repeat the change');
}
