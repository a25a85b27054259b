// What every request passes first, whichever app answers it: it gets an id and a log line; target, host, scheme and client address
// are judged once, and every app takes them from here; a request for another server is refused. This folder owns what all HTTP
// endpoints of ours have in common: reading bodies, admin API routes, problem details, pagination. Only routes.ts files and server/
// import it.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type Koa from 'koa';
import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { problemAnswers } from './problem.ts';
import { readForwarded } from './proxy-headers.ts';
import { createRequestLog, REQUEST_ID_HEADER, type RequestLogDeps } from './request-log.ts';
import { INVALID_HOST, isHostAndPort, readTarget } from './request-target.ts';
import type { Header } from './security-headers.ts';

/** Health checks use an address instead of a name; their answers do not depend on the Host. */
const ANY_HOST_PATHS = /^\/health\//;

/** A property, because the garbage collector would visit each entry of a WeakMap several times. */
const NORMALIZED = Symbol('what the request is, judged once');
type Judged = IncomingMessage & { [NORMALIZED]?: NormalizedRequest };

interface NormalizedRequest {
  readonly clientAddress: string;
  /** to which of our origins the request was sent; undefined: to another server's, or to any (health checks) */
  readonly origin?: string | undefined;
  readonly refusal?: AppError | undefined;
}

export interface RequestPrelude {
  /** @returns whether the request is for this server; if not, `middlewares` refuse it */
  accept(request: IncomingMessage, response: ServerResponse): boolean;
  /** Sets the headers of every answer. */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** The same for `writeHead`: names and values alternate. */
  rawHeaders(request: IncomingMessage): string[];
  /** To which of our origins the request was sent. @returns undefined: to another server's */
  originOf(request: IncomingMessage): string | undefined;
  /** From then on the app reads no header and no socket for them: `ctx.href` and the like are at the issuer, `ctx.ip` is the client. */
  attachTo(app: Koa): void;
  /** The first ones of every app. They set `ctx.state.origin`, to which the request was sent. */
  readonly middlewares: readonly Middleware[];
}

export interface RequestPreludeDeps extends RequestLogDeps {
  readonly log: Log;
  readonly securityHeaders: readonly Header[];
  /** those that this server answers for, the issuer first */
  readonly origins: readonly [string, ...string[]];
  /** whether a peer is a trusted proxy */
  readonly isTrusted: (address: string) => boolean;
}

export function createRequestPrelude(deps: RequestPreludeDeps): RequestPrelude {
  const logRequest = createRequestLog(deps);
  const normalize = createNormalizer(deps);
  const flatHeaders = deps.securityHeaders.flat();

  return {
    accept(request: Judged, response) {
      const normalized = normalize(request);
      request[NORMALIZED] = normalized;
      oneBlankAfterScheme(request);
      logRequest(request, response);
      return normalized.refusal === undefined;
    },
    setCommonHeaders(request, response) {
      for (const [name, value] of deps.securityHeaders) response.setHeader(name, value);
      response.setHeader('X-Request-Id', String(request.headers[REQUEST_ID_HEADER]));
    },
    originOf: (request: Judged) => request[NORMALIZED]?.origin,
    rawHeaders: (request) => [...flatHeaders, 'X-Request-Id', String(request.headers[REQUEST_ID_HEADER])],
    attachTo: (app) => void Object.defineProperties(app.request, judgedMembers(deps.origins[0])),
    middlewares: [
      problemAnswers(deps.log),
      async (ctx, next) => {
        const { origin, refusal }: Partial<NormalizedRequest> = (ctx.req as Judged)[NORMALIZED] ?? {};
        if (refusal !== undefined) throw refusal;
        ctx.state.origin = origin;
        await next();
      },
    ],
  };
}

/** @returns a function that replaces the target of a request by its path, and says where it was sent to, and by whom */
function createNormalizer({ origins, isTrusted }: RequestPreludeDeps): (request: IncomingMessage) => NormalizedRequest {
  const findOrigin = createOriginFinder(origins);
  const misdirected = `this server answers for ${new URL(origins[0]).host} only`;
  return (request) => {
    const { clientAddress, host: forwardedHost } = readForwarded(request, isTrusted);
    const target = readTarget(request);
    request.url = typeof target === 'string' ? '/' : target.path;
    if (typeof target === 'string') return { clientAddress, refusal: new AppError('malformed_request', target) };
    const { path, scheme, authority } = target;
    const own = findOrigin(authority, scheme);
    if (own === undefined && !isHostAndPort(authority)) {
      return { clientAddress, refusal: new AppError('malformed_request', INVALID_HOST) };
    }
    // A proxy replaces the Host, but not the authority of a target, by which it has gone itself.
    const isElsewhere = scheme !== undefined && own === undefined;
    const origin = forwardedHost === undefined || isElsewhere ? own : findOrigin(forwardedHost);
    if (origin !== undefined || ANY_HOST_PATHS.test(path)) return { clientAddress, origin };
    return { clientAddress, refusal: new AppError('misdirected_request', misdirected) };
  };
}

/** @returns a function that finds which of our origins it is. Equal ones may differ in their spelling (RFC 9110 §4.2.3). */
function createOriginFinder(origins: readonly string[]) {
  // With the issuer last, whose entry replaces others.
  const byHost = new Map(origins.toReversed().map((origin) => [new URL(origin).host, origin]));
  return (authority: string, scheme?: string): string | undefined => {
    const known = scheme === undefined ? byHost.get(authority) : undefined;
    if (known !== undefined || !isHostAndPort(authority)) return known;
    const spelled = (scheme === undefined ? ['https', 'http'] : [scheme]).map(
      (each) => URL.parse(`${each}://${authority}`)?.origin,
    );
    return origins.find((origin) => spelled.includes(origin));
  };
}

/** The members of a Koa request that would otherwise be made of headers and of the socket. */
function judgedMembers(issuer: string): PropertyDescriptorMap {
  const { protocol, host } = new URL(issuer);
  type Member = { readonly req: Judged };
  const addressOf = ({ req }: Member) => req[NORMALIZED]?.clientAddress ?? '';
  return {
    protocol: { value: protocol.slice(0, -1) },
    host: { value: host },
    ip: {
      get(this: Member) {
        return addressOf(this);
      },
    },
    ips: {
      get(this: Member) {
        return [addressOf(this)];
      },
    },
  };
}

/** RFC 9110 §11.4: `1*SP`. The engine takes exactly one. */
function oneBlankAfterScheme({ headers }: IncomingMessage): void {
  const { authorization } = headers;
  if (authorization?.includes('  ')) headers.authorization = authorization.replace(/^([^ ]+) +/, '$1 ');
}
