// Errors as RFC 9457 problem details. What is not an AppError is logged with its cause and answered
// as `internal_error`, with the request id and nothing else.

import type { Context, Middleware } from 'koa';
import { AppError, unavailabilityIn } from '../errors.ts';
import type { Log } from '../log.ts';
import { requestId } from './request-log.ts';

export interface Problem {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly request_id: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

/** Turns what was thrown into an AppError, and logs it when the status is 500 or more. */
export function toAppError(error: unknown, ctx: Context, log: Log): AppError {
  // The engine makes an error of its own of what is unavailable.
  const known = error instanceof AppError ? error : unavailabilityIn(error);
  if (known !== undefined) {
    if (known.status >= 500) log.warn({ request_id: requestId(ctx), error }, known.code);
    return known;
  }
  log.error({ request_id: requestId(ctx), error }, 'unexpected error');
  return new AppError('internal_error', 'the error has been logged under this request id', { cause: error });
}

export function answerWithProblem(ctx: Context, error: AppError): void {
  const problem: Problem = {
    type: 'about:blank',
    title: error.title,
    status: error.status,
    code: error.code,
    detail: error.detail,
    request_id: requestId(ctx),
    ...(error.faults.length > 0 ? { errors: error.faults } : {}),
  };
  ctx.status = error.status;
  ctx.set('Cache-Control', 'no-store');
  if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds));
  ctx.body = JSON.stringify(problem);
  ctx.type = 'application/problem+json';
}

export function problemAnswers(log: Log): Middleware {
  return async (ctx, next) => {
    try {
      await next();
      if ((ctx.body !== undefined && ctx.body !== null) || ctx.respond === false) return;
      // The router answers 501 for methods that it does not know at all. RFC 9110 §15.5.6: it has
      // set `Allow`.
      if (![404, 405, 501].includes(ctx.status)) return;
      const allowed = ctx.response.get('Allow');
      if (allowed) throw new AppError('method_not_allowed', `allowed: ${allowed}`);
      ctx.remove('Allow');
      throw new AppError('not_found', 'nothing answers at this address');
    } catch (error) {
      answerWithProblem(ctx, toAppError(error, ctx, log));
    }
  };
}
