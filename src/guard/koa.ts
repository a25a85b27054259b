// The guard as a Koa middleware: hands the request over, and answers with the refusal.

import { authorizationOf, type HttpRequestLike } from './bearer.ts';
import type { Guard, RouteRequirements } from './guard.ts';
import { GuardRefusal } from './refusal.ts';

/** The members of a Koa context that the guard uses; Koa itself is not needed. */
export interface KoaContextLike {
  readonly req: HttpRequestLike;
  readonly state: object;
  status: number;
  body: unknown;
  set(name: string, value: string): void;
}

/**
 * Koa middleware: sets `ctx.state.principal` (Principal) and calls `next`, or answers with the refusal and does not.
 * @throws whatever is not a GuardRefusal, for Koa's own error handling
 */
export function koaGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (ctx: KoaContextLike, next: () => Promise<unknown>) => Promise<void> {
  return async (ctx, next) => {
    try {
      Object.assign(ctx.state, { principal: await guard.check(authorizationOf(ctx.req), requirements) });
    } catch (error) {
      if (!(error instanceof GuardRefusal)) throw error;
      ctx.status = error.status;
      for (const [name, value] of Object.entries(error.headers)) ctx.set(name, value);
      ctx.body = error.body;
      return;
    }
    await next();
  };
}
