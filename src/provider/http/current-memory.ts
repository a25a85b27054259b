// A request is judged by everything that was committed before it came: the engine with its keys, its
// clients and the policy are asked for after the change log (database/change-log). Where that does
// not answer, nothing in memory can be believed, and the request is refused.

import type { IncomingMessage } from 'node:http';
import type { Middleware } from 'koa';
import { unavailabilityIn } from '../../errors.ts';
import { type RefusalDeps, refuse } from './early-refusal.ts';
import { UNAVAILABLE } from './unavailable.ts';

const failures = new WeakMap<IncomingMessage, unknown>();

/** The change log did not answer for this request: `refuseUnlessCurrent` refuses it. */
export function noteFailure(request: IncomingMessage, error: unknown): void {
  failures.set(request, error);
}

/** @throws what is not a matter of availability */
export function refuseUnlessCurrent(deps: RefusalDeps): Middleware {
  return async (ctx, next) => {
    if (!failures.has(ctx.req)) return next();
    const failure = failures.get(ctx.req);
    const reason = unavailabilityIn(failure);
    if (reason === undefined) throw failure;
    const { detail, retryAfterSeconds } = reason;
    await refuse(deps, ctx, { status: 503, error: UNAVAILABLE, description: detail, retryAfterSeconds });
  };
}
