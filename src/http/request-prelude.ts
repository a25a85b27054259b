// What every request passes first, whichever app answers it: it gets an id and a log line; target, host, scheme and client address
// are read once and rewritten to what can be trusted; a request for another server is refused. This folder owns what all HTTP
// endpoints of ours have in common: reading bodies, admin API routes, problem details, pagination. Only routes.ts files and server/
// import it.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { problemAnswers } from './problem.ts';
import { createProxyHeaders, type ProxyHeadersOptions } from './proxy-headers.ts';
import { createRequestLog, REQUEST_ID_HEADER, type RequestLogDeps } from './request-log.ts';
import type { Header } from './security-headers.ts';

/** Health checks use an address instead of a name; their answers do not depend on the Host. */
const ANY_HOST_PATHS = /^\/health\//;

/** A property, because the garbage collector would visit each entry of a WeakMap several times. */
const ORIGIN = Symbol('origin');
type Judged = IncomingMessage & { [ORIGIN]?: string };

export interface RequestPrelude {
  /** @returns whether the request is for this server; if not, `middlewares` refuse it */
  accept(request: IncomingMessage, response: ServerResponse): boolean;
  /** Sets the headers of every answer. */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** The same for `writeHead`: names and values alternate. */
  rawHeaders(request: IncomingMessage): string[];
  /** To which of our origins the request was sent. @returns undefined: to another server's */
  originOf(request: IncomingMessage): string | undefined;
  /** The first ones of every app. They set `ctx.state.origin`, to which the request was sent. */
  readonly middlewares: readonly Middleware[];
}

export interface RequestPreludeDeps extends RequestLogDeps, ProxyHeadersOptions {
  readonly log: Log;
  readonly securityHeaders: readonly Header[];
}

export function createRequestPrelude(deps: RequestPreludeDeps): RequestPrelude {
  const logRequest = createRequestLog(deps);
  const readProxyHeaders = createProxyHeaders(deps);
  const withoutTarget = new WeakSet<IncomingMessage>();
  const flatHeaders = deps.securityHeaders.flat();
  const { host } = new URL(deps.origins[0]);

  return {
    accept(request: Judged, response) {
      const hasTarget = readTarget(request);
      logRequest(request, response);
      const origin = readProxyHeaders(request);
      if (!hasTarget) {
        withoutTarget.add(request);
        return false;
      }
      if (origin !== undefined) request[ORIGIN] = origin;
      return origin !== undefined || ANY_HOST_PATHS.test(request.url ?? '');
    },
    setCommonHeaders(request, response) {
      for (const [name, value] of deps.securityHeaders) response.setHeader(name, value);
      response.setHeader('X-Request-Id', String(request.headers[REQUEST_ID_HEADER]));
    },
    originOf: (request: Judged) => request[ORIGIN],
    rawHeaders: (request) => [...flatHeaders, 'X-Request-Id', String(request.headers[REQUEST_ID_HEADER])],
    middlewares: [
      problemAnswers(deps.log),
      async (ctx, next) => {
        if (withoutTarget.has(ctx.req)) {
          throw new AppError('malformed_request', 'the request target must be a path or an http URL');
        }
        ctx.state.origin = (ctx.req as Judged)[ORIGIN];
        if (ctx.state.origin === undefined && !ANY_HOST_PATHS.test(ctx.path)) {
          throw new AppError('misdirected_request', `this server answers for ${host} only`);
        }
        await next();
      },
    ],
  };
}

/**
 * RFC 9112 §3.2: the target is a path, or an absolute URL, whose host counts instead of the Host
 * header (§3.2.2). Behind this it is a path.
 * @returns whether it is one of them
 */
function readTarget(request: IncomingMessage): boolean {
  const { url: target = '/', method } = request;
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return true;
  const url = URL.parse(target);
  const isHttp = url !== null && /^https?:$/.test(url.protocol);
  request.url = isHttp ? url.pathname + url.search : '/';
  if (isHttp) request.headers.host = url.host;
  return isHttp;
}
