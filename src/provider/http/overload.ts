// Overload as an error of the engine: neither a wrong secret nor a failure of the server. The
// client is told to repeat the request later (RFC 6749 §4.1.2.1 has the code for it, RFC 9110
// §10.2.3 the header).

import { errors } from 'oidc-provider';
import { AppError } from '../../errors.ts';
import { currentContext } from '../engine-internals.ts';

export const OVERLOADED_BODY = {
  error: 'temporarily_unavailable',
  error_description: 'too many requests at once: try again in a moment',
};

/** The overload that this error is, or was made of. */
export function overloadIn(error: unknown): AppError | undefined {
  const candidates = error instanceof Error ? [error, error.cause] : [];
  return candidates.find((candidate): candidate is AppError => {
    return candidate instanceof AppError && candidate.code === 'overloaded';
  });
}

/**
 * Turns an overload in what the engine calls into an error of the engine; other errors stay as they
 * are.
 */
export function refusingOverload<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    const overload = overloadIn(error);
    if (overload === undefined) throw error;
    currentContext()?.set('Retry-After', String(overload.retryAfterSeconds ?? 1));
    const refusal = new errors.OIDCProviderError(503, OVERLOADED_BODY.error, { cause: overload });
    throw Object.assign(refusal, { expose: true, error_description: OVERLOADED_BODY.error_description });
  });
}

/** The same for every function of an object. */
export function refusingOverloads<T extends object>(target: T): T {
  const wrapped = Object.entries(target).map(([name, call]) => {
    const refusing = (...args: unknown[]) => {
      const answer = (call as (...args: unknown[]) => unknown)(...args);
      return answer instanceof Promise ? refusingOverload(answer) : answer;
    };
    return [name, refusing];
  });
  return Object.fromEntries(wrapped) as T;
}
