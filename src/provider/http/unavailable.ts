// Overload, an unreachable database and a limit that was reached as an error of the engine: neither
// a wrong secret nor a failure of the server. The client is told to repeat the request later where
// nothing was done (RFC 6749 §4.1.2.1 has the code for it, RFC 9110 §10.2.3 the header).

import { errors } from 'oidc-provider';
import { unavailabilityIn } from '../../errors.ts';
import { currentContext } from '../engine-internals.ts';

export const UNAVAILABLE = 'temporarily_unavailable';

/**
 * Turns it into an error of the engine when what the engine calls is unavailable; other errors stay
 * as they are.
 */
export function asEngineRefusal<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    const reason = unavailabilityIn(error);
    if (reason === undefined || error instanceof errors.OIDCProviderError) throw error;
    const { status, retryAfterSeconds, detail } = reason;
    if (retryAfterSeconds !== undefined) currentContext()?.set('Retry-After', String(retryAfterSeconds));
    const refusal = new errors.OIDCProviderError(status, UNAVAILABLE, { cause: reason });
    throw Object.assign(refusal, { expose: true, error_description: detail });
  });
}

/** The same for every function of an object. */
export function withEngineRefusals<T extends object>(target: T): T {
  const wrapped = Object.entries(target).map(([name, member]) => {
    if (typeof member !== 'function') return [name, member];
    const refusing = (...args: unknown[]) => {
      const answer = member(...args);
      return answer instanceof Promise ? asEngineRefusal(answer) : answer;
    };
    return [name, refusing];
  });
  return Object.fromEntries(wrapped) as T;
}
