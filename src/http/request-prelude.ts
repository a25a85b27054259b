// What every request passes first, whichever app answers it: it gets its id and its line in the
// log; target, host, scheme and client address are read once and rewritten to what can be trusted;
// a request for another server is refused.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { problemAnswers } from './problem.ts';
import { createProxyHeaders, type ProxyHeadersOptions } from './proxy-headers.ts';
import { createRequestLog, REQUEST_ID_HEADER, type RequestLogDeps } from './request-log.ts';
import type { Header } from './security-headers.ts';

/**
 * Health checks come from machines that know an address, not our name; their answers do not depend
 * on a Host.
 */
const ANY_HOST_PATHS = /^\/health\//;

export interface RequestPrelude {
  /**
   * @returns whether the request is for this server; if not, the first of `middlewares` refuses it
   */
  accept(request: IncomingMessage, response: ServerResponse): boolean;
  /** The headers that every answer carries: for an app that adds its own. */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** The same for an answer that is written in one go: names and values by turns. */
  rawHeaders(request: IncomingMessage): string[];
  /**
   * The first of every app. Behind it `ctx.state.origin` is that of our origins which the client
   * has used.
   */
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
  const withoutTarget = new WeakSet<IncomingMessage>();
  const flatHeaders = deps.securityHeaders.flat();
  const { host } = new URL(deps.origins[0]);

  return {
    accept(request, response) {
      const hasTarget = readTarget(request);
      logRequest(request, response);
      const origin = readProxyHeaders(request);
      if (!hasTarget) {
        withoutTarget.add(request);
        return false;
      }
      if (origin !== undefined) origins.set(request, origin);
      return origin !== undefined || ANY_HOST_PATHS.test(request.url ?? '');
    },
    setCommonHeaders(request, response) {
      for (const [name, value] of deps.securityHeaders) response.setHeader(name, value);
      response.setHeader('X-Request-Id', String(request.headers[REQUEST_ID_HEADER]));
    },
    rawHeaders: (request) => [...flatHeaders, 'X-Request-Id', String(request.headers[REQUEST_ID_HEADER])],
    middlewares: [
      problemAnswers(deps.log),
      async (ctx, next) => {
        if (withoutTarget.has(ctx.req)) {
          throw new AppError('malformed_request', 'the request target must be a path or an http URL');
        }
        ctx.state.origin = origins.get(ctx.req);
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
