// What every request passes first, whichever app answers it: it gets its id and its line in the log, what proxies say about it is
// made trustworthy, and whoever means another server is told so.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { problemAnswers } from './problem.ts';
import { createProxyHeaders, type ProxyHeadersOptions } from './proxy-headers.ts';
import { createRequestLog, REQUEST_ID_HEADER, type RequestLogDeps } from './request-log.ts';
import type { Header } from './security-headers.ts';

/** Health checks come from machines that know an address, not our name; they answer nothing that a Host could poison. */
const ANY_HOST_PATHS = /^\/health\//;

export interface RequestPrelude {
  /** @returns whether the request is for this server; if not, the first of `middlewares` refuses it */
  accept(request: IncomingMessage, response: ServerResponse): boolean;
  /** The headers that every answer carries: for an app that adds its own. */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** The same for an answer that is written in one go: names and values by turns. */
  rawHeaders(request: IncomingMessage): string[];
  /** That of our origins by which the client has come. @returns undefined for an address of which we are not the server */
  originOf(request: IncomingMessage): string | undefined;
  /** What stands first in every app. Behind it `ctx.state.origin` is that of our origins by which the client has come. */
  readonly middlewares: readonly Middleware[];
}

export interface RequestPreludeDeps extends RequestLogDeps, ProxyHeadersOptions {
  readonly log: Log;
  readonly securityHeaders: readonly Header[];
}

export function createRequestPrelude(deps: RequestPreludeDeps): RequestPrelude {
  const logRequest = createRequestLog(deps);
  const readProxyHeaders = createProxyHeaders(deps);
  const origins = new WeakMap<IncomingMessage, string>();
  const flatHeaders = deps.securityHeaders.flat();
  const { host } = new URL(deps.origins[0]);

  return {
    accept(request, response) {
      logRequest(request, response);
      const origin = readProxyHeaders(request);
      if (origin !== undefined) origins.set(request, origin);
      return origin !== undefined || ANY_HOST_PATHS.test(request.url ?? '');
    },
    setCommonHeaders(request, response) {
      for (const [name, value] of deps.securityHeaders) response.setHeader(name, value);
      response.setHeader('X-Request-Id', String(request.headers[REQUEST_ID_HEADER]));
    },
    originOf: (request) => origins.get(request),
    rawHeaders: (request) => [...flatHeaders, 'X-Request-Id', String(request.headers[REQUEST_ID_HEADER])],
    middlewares: [
      problemAnswers(deps.log),
      async (ctx, next) => {
        ctx.state.origin = origins.get(ctx.req);
        if (ctx.state.origin === undefined && !ANY_HOST_PATHS.test(ctx.path)) {
          throw new AppError('misdirected_request', `this server answers for ${host} only`);
        }
        await next();
      },
    ],
  };
}
