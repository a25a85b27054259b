// The guard as Express middleware.

import type { HttpRequestLike } from '../credentials.ts';
import type { Guard, RouteRequirements } from '../guard.ts';
import type { Principal } from '../principal.ts';
import { GuardRefusal } from '../refusal.ts';
import { answerMetadata } from '../resource-metadata.ts';

/** The members of an Express request that the guard uses; Express itself is not needed. */
export interface ExpressRequestLike extends HttpRequestLike {
  principal?: Principal;
}

/** The members of a Node response, so that Connect and Express 4 work too. */
export interface ExpressResponseLike {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body?: string): unknown;
}

/**
 * Express middleware: sets `req.principal` (Principal) and calls `next()`, or answers with the
 * refusal. Any error that is not a GuardRefusal is passed to `next(error)`.
 */
export function expressGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (req: ExpressRequestLike, res: ExpressResponseLike, next: (error?: unknown) => void) => Promise<void> {
  return async (req, res, next) => {
    try {
      req.principal = await guard.checkRequest(req, requirements);
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

/**
 * Express middleware for the whole app (`app.use(…)`): serves the protected resource metadata
 * (RFC 9728); passes other requests on.
 */
export function expressResourceMetadata(
  guard: Guard,
): (req: ExpressRequestLike, res: ExpressResponseLike, next: (error?: unknown) => void) => void {
  return (req, res, next) => {
    const { method, headers } = req;
    const answer = answerMetadata(guard.metadata, { method, target: req.originalUrl ?? req.url, headers });
    if (answer === undefined) return next();
    res.statusCode = answer.status;
    for (const [name, value] of Object.entries(answer.headers)) res.setHeader(name, value);
    res.end(answer.body);
  };
}
