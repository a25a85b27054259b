// The adapters of the guard for web frameworks, one file each; this one is for Koa. An adapter
// passes the request to the guard, sets the principal, and answers with the refusal.

import type { HttpRequestLike } from '../credentials.ts';
import type { Guard, RouteRequirements } from '../guard.ts';
import { GuardRefusal } from '../refusal.ts';
import { answerMetadata } from '../resource-metadata.ts';

/** The members of a Koa context that the guard uses; Koa itself is not needed. */
export interface KoaContextLike {
  readonly req: HttpRequestLike;
  /** with the path at which the app is mounted */
  readonly originalUrl?: string;
  readonly state: object;
  status: number;
  body: unknown;
  set(name: string, value: string): void;
}

/**
 * Koa middleware: sets `ctx.state.principal` (Principal) and calls `next`, or answers with the
 * refusal.
 * @throws any error that is not a GuardRefusal, for Koa's error handling
 */
export function koaGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (ctx: KoaContextLike, next: () => Promise<unknown>) => Promise<void> {
  return async (ctx, next) => {
    try {
      Object.assign(ctx.state, { principal: await guard.checkRequest(requestOf(ctx), requirements) });
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

/** Koa middleware: serves the protected resource metadata (RFC 9728); passes other requests on. */
export function koaResourceMetadata(
  guard: Guard,
): (ctx: KoaContextLike, next: () => Promise<unknown>) => Promise<void> {
  return async (ctx, next) => {
    const { method, originalUrl, headers } = requestOf(ctx);
    const answer = answerMetadata(guard.metadata, { method, target: originalUrl, headers });
    if (answer === undefined) {
      await next();
      return;
    }
    ctx.status = answer.status;
    for (const [name, value] of Object.entries(answer.headers)) ctx.set(name, value);
    if (answer.body !== undefined) ctx.body = answer.body;
  };
}

function requestOf({ req, originalUrl }: KoaContextLike): HttpRequestLike {
  const { headers, rawHeaders, method, url, socket } = req;
  return { headers, rawHeaders, method, url, socket, originalUrl: originalUrl ?? url };
}
