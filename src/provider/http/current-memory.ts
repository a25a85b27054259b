// A request is judged by everything that was committed before it came: the engine with its keys, its
// clients and the policy are asked for after the change log (database/change-log). Where that does
// not answer, nothing in memory can be believed, and the request is refused.
//
// When a request is judged, by the clock of the database, is when its tokens count as issued (`iat`):
// what is taken away later is newer than they are, whatever the clocks of the servers show.

import type { IncomingMessage } from 'node:http';
import type { Middleware } from 'koa';
import type { ChangeLog } from '../../database/change-log.ts';
import { unavailabilityIn } from '../../errors.ts';
import { currentContext } from '../engine-internals.ts';
import { type RefusalDeps, refuse } from './early-refusal.ts';
import { UNAVAILABLE } from './unavailable.ts';

const failures = new WeakMap<IncomingMessage, unknown>();
const JUDGED_AT = Symbol('when the request is judged, in seconds since 1970');
type Judged = IncomingMessage & { [JUDGED_AT]?: number };

/** @returns whether memory is current now; if it is not, `refuseUnlessCurrent` refuses the request */
export function catchUp(changes: Pick<ChangeLog, 'current'>, request: IncomingMessage): Promise<boolean> {
  return changes.current().then(
    (seconds) => {
      (request as Judged)[JUDGED_AT] = seconds;
      return true;
    },
    (error: unknown) => {
      failures.set(request, error);
      return false;
    },
  );
}

/**
 * For what is issued now, in whole seconds since 1970.
 * @param changes gives the time of what is issued outside of a request to the engine
 */
export function issueTime(changes: Pick<ChangeLog, 'now'>): number {
  const request: Judged | undefined = currentContext()?.req;
  return Math.floor(request?.[JUDGED_AT] ?? changes.now());
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
