// One line per request: method, path, status, duration, request id. Never headers, bodies or the query string, which carry
// codes, tokens and state. The request id also goes to the caller, and inward as a header so that the engine's side can name
// it in audit events.

import { randomUUID } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import { type Log, withoutRedaction } from '../log.ts';
import type { Endpoint } from '../metrics/endpoints.ts';
import type { Metrics } from '../metrics/metrics.ts';

export const REQUEST_ID_HEADER = 'x-request-id';

export function requestId(ctx: Pick<Context, 'req'>): string {
  return String(ctx.req.headers[REQUEST_ID_HEADER]);
}

export interface RequestLogDeps {
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'observeRequest'>;
  readonly endpointOf: (path: string) => Endpoint;
}

export function requestLog({ metrics, endpointOf, ...deps }: RequestLogDeps): Middleware {
  const log = withoutRedaction(deps.log);
  return async (ctx, next) => {
    const startedAt = performance.now();
    const id = randomUUID();
    ctx.req.headers[REQUEST_ID_HEADER] = id;
    ctx.set('X-Request-Id', id);
    const path = loggablePath(ctx.path);
    const endpoint = endpointOf(ctx.path);
    ctx.res.once('close', () => {
      const durationMs = performance.now() - startedAt;
      metrics.observeRequest(endpoint, ctx.res.writableFinished ? ctx.res.statusCode : 0, durationMs / 1000);
      const line = {
        request_id: id,
        method: ctx.method,
        path,
        status: ctx.res.statusCode,
        duration_ms: Math.round(durationMs),
        ...(ctx.res.writableFinished ? {} : { aborted: true }),
      };
      if (path.startsWith('/health/')) log.debug(line, 'request');
      else log.info(line, 'request');
    });
    await next();
  };
}

/** The id of a running login is half of what it takes to continue it; the cookie is the other half. */
function loggablePath(path: string): string {
  return path.replace(/^(\/(?:interaction|oauth2\/authorize)\/)[^/]+/, '$1…').slice(0, 200);
}
