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

export interface Entrance {
  /** @returns whether the request is for this server; if not, the first of `middlewares` refuses it */
  admit(request: IncomingMessage, response: ServerResponse): boolean;
  /** The headers that every answer carries: for an app that adds its own. */
  dress(request: IncomingMessage, response: ServerResponse): void;
  /** The same for an answer that is written in one go: names and values by turns. */
  rawHeaders(request: IncomingMessage): string[];
  /** what stands first in every app */
  readonly middlewares: readonly Middleware[];
}

export interface EntranceDeps extends RequestLogDeps, ProxyHeadersOptions {
  readonly log: Log;
  readonly securityHeaders: readonly Header[];
}

export function createEntrance(deps: EntranceDeps): Entrance {
  const logRequest = createRequestLog(deps);
  const readProxyHeaders = createProxyHeaders(deps);
  const misdirected = new WeakSet<IncomingMessage>();
  const flatHeaders = deps.securityHeaders.flat();
  const { host } = new URL(deps.origins[0]);

  return {
    admit(request, response) {
      logRequest(request, response);
      const isForUs = readProxyHeaders(request);
      if (!isForUs) misdirected.add(request);
      return isForUs;
    },
    dress(request, response) {
      for (const [name, value] of deps.securityHeaders) response.setHeader(name, value);
      response.setHeader('X-Request-Id', String(request.headers[REQUEST_ID_HEADER]));
    },
    rawHeaders: (request) => [...flatHeaders, 'X-Request-Id', String(request.headers[REQUEST_ID_HEADER])],
    middlewares: [
      problemAnswers(deps.log),
      async (ctx, next) => {
        if (misdirected.has(ctx.req)) {
          throw new AppError('misdirected_request', `this server answers for ${host} only`);
        }
        await next();
      },
    ],
  };
}
