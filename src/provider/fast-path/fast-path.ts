// The fast path: a second transport to the token, introspection and userinfo endpoints. It reads a plain request, runs the same
// steps as the engine's own pipeline (client authentication, grants, answers, errors) without Koa's router and response, and writes
// the answer in one piece. Which requests it takes is decided by plain-request, before anything is looked up; what it has taken it
// answers, errors included. test/provider/fast-path* and the differential fuzzer send requests through both transports.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'node:querystring';
import type { Middleware } from 'koa';
import compose from 'koa-compose';
import type Provider from 'oidc-provider';
import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { asEngineContext, cors, createEngineContext, endpointSteps, runInContext } from '../engine-internals.ts';
import { readFormBody } from '../http/form-body.ts';
import { ROUTES } from '../routes.ts';
import { createPlainRequests, type PlainRequestOptions } from './plain-request.ts';

export interface FastPathDeps extends PlainRequestOptions {
  readonly provider: Provider;
  /** in front of the token and introspection endpoints on both transports */
  readonly clientChallenge: Middleware;
  /** the headers that every answer carries, names and values by turns */
  readonly rawHeaders: (request: IncomingMessage) => readonly string[];
  /** the origin by which the client has come */
  readonly originOf: (request: IncomingMessage) => string | undefined;
}

/** @returns undefined if the request is not plain, at once; otherwise a promise of its answer */
export type FastPath = (request: IncomingMessage, response: ServerResponse) => Promise<void> | undefined;

interface Endpoint {
  readonly route: string;
  readonly method: string;
  readonly run: (ctx: KoaContextWithOIDC) => Promise<void>;
  readonly runWithCors: (ctx: KoaContextWithOIDC) => Promise<void>;
  /** of a request without Origin: what the engine's CORS sets then */
  readonly corsHeaders: readonly string[];
}

export function createFastPath(deps: FastPathDeps): FastPath {
  const endpoints = new Map<string, Endpoint>([
    [ROUTES.token, endpoint('token', 'POST', 'DPoP-Nonce,WWW-Authenticate', stepsOf(deps, 'token', 'grant.error'))],
    [
      ROUTES.introspection,
      endpoint('introspection', 'POST', 'WWW-Authenticate', stepsOf(deps, 'introspection', 'introspection.error')),
    ],
    [
      ROUTES.userinfo,
      endpoint('userinfo', 'GET', 'DPoP-Nonce,WWW-Authenticate', endpointSteps('userinfo', 'userinfo.error', [])),
    ],
  ]);
  const isPlain = createPlainRequests(deps);
  return (request, response) => {
    // Only the path that the discovery document names, without a query.
    const found = endpoints.get(request.url ?? '');
    if (found === undefined || request.method !== found.method || !isPlain(request)) return undefined;
    return answer(deps, found, request, response);
  };
}

function stepsOf(deps: FastPathDeps, name: 'token' | 'introspection', errorEvent: string): Middleware[] {
  return [deps.clientChallenge, ...endpointSteps(name, errorEvent, [readForm])];
}

const readForm: Middleware = async (ctx, next) => {
  const body = await readFormBody(ctx.req);
  // The connection has ended before all of it has come.
  if (body === undefined) throw new errors.InvalidRequest('failed to parse the request body');
  Object.assign(asEngineContext(ctx).oidc, { body: parse(withoutMark(ctx.req, body)) });
  await next();
};

function endpoint(route: string, method: string, exposeHeaders: string, steps: Middleware[]): Endpoint {
  const allowed = cors({ clientBased: true, allowMethods: method, exposeHeaders });
  return {
    route,
    method,
    run: compose(steps) as Endpoint['run'],
    runWithCors: compose([allowed, ...steps]) as Endpoint['run'],
    corsHeaders: ['Vary', 'Origin', 'Access-Control-Allow-Origin', '*', 'Access-Control-Expose-Headers', exposeHeaders],
  };
}

async function answer(
  { provider, rawHeaders, originOf }: FastPathDeps,
  { route, run, runWithCors, corsHeaders }: Endpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const ctx = createEngineContext(provider, request, response, route);
  ctx.state.origin = originOf(request);
  // Without Koa's setter, which would look at the type of every body.
  Object.defineProperty(ctx, 'body', { value: undefined, writable: true });
  const hasOrigin = request.headers.origin !== undefined;
  await runInContext(ctx, () => (hasOrigin ? runWithCors : run)(ctx));
  write(response, ctx.body, [...rawHeaders(request), ...(hasOrigin ? [] : corsHeaders), 'Cache-Control', 'no-store']);
}

/** The engine decodes a body that names its charset without the byte order mark, any other with it. */
function withoutMark({ headers }: IncomingMessage, body: string): string {
  return headers['content-type']?.includes(';') ? body.replace(/^\uFEFF/, '') : body;
}

/**
 * The fast path where it takes the request, the engine's own pipeline for the rest.
 * @param onBrokenOff an answer that breaks off must not end the process
 */
export function bothTransports(fastPath: FastPath, engine: Handler, onBrokenOff: OnBrokenOff): Handler {
  return (request, response) => {
    const answered = fastPath(request, response);
    if (answered === undefined) return engine(request, response);
    answered.catch((error: unknown) => {
      onBrokenOff(error, request);
      response.destroy();
    });
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
type OnBrokenOff = (error: unknown, request: IncomingMessage) => void;

/** The engine answers with JSON, or with a JWT whose type it has set. */
function write(response: ServerResponse, body: unknown, headers: readonly string[]): void {
  const isJwt = typeof body === 'string';
  const text = isJwt ? body : JSON.stringify(body);
  const sizeBytes = Buffer.byteLength(text);
  const type = isJwt ? [] : ['Content-Type', 'application/json; charset=utf-8'];
  response.writeHead(response.statusCode, [...headers, ...type, 'Content-Length', String(sizeBytes)]);
  response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8');
}
