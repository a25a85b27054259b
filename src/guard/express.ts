// The guard as a Express middleware: hands the request over, and answers with the refusal.

import { authorizationOf, type HttpRequestLike } from './bearer.ts';
import type { Guard, RouteRequirements } from './guard.ts';
import type { Principal } from './principal.ts';
import { GuardRefusal } from './refusal.ts';

/** The members of an Express request that the guard uses; Express itself is not needed. */
export interface ExpressRequestLike extends HttpRequestLike {
  principal?: Principal;
}

/** Node's own response, so that Connect and Express 4 do as well. */
export interface ExpressResponseLike {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

/**
 * Express middleware: sets `req.principal` (Principal) and calls `next()`, or answers with the refusal and does not.
 * Whatever is not a GuardRefusal goes to `next(error)`.
 */
export function expressGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (req: ExpressRequestLike, res: ExpressResponseLike, next: (error?: unknown) => void) => Promise<void> {
  return async (req, res, next) => {
    try {
      req.principal = await guard.check(authorizationOf(req), requirements);
    } catch (error) {
      if (!(error instanceof GuardRefusal)) return next(error);
      res.statusCode = error.status;
      for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
      res.setHeader('Content-Type', 'application/json; charset=utf-8');
      res.end(JSON.stringify(error.body));
      return;
    }
    next();
  };
}
