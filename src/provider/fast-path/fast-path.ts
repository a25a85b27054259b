// The fast path: a second transport to the token, introspection and userinfo endpoints. It reads a plain request, runs the same
// steps as the engine's own pipeline (client authentication, grants, answers, errors) without Koa's router and response, and writes
// the answer in one piece. Which requests it takes is decided by plain-request, before anything is looked up; what it has taken it
// answers, errors included. test/provider/fast-path* and the differential fuzzer send requests through both transports.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'node:querystring';
import type { Middleware } from 'koa';
import type Provider from 'oidc-provider';
import { createEngineContext, runInContext } from '../engine-internals.ts';
import { cors, endpointSteps, type Parameters, type RunSteps } from '../engine-steps.ts';
import { challengeClient } from '../http/client-challenge.ts';
import { keepForm, readForm } from '../http/form-body.ts';
import { ROUTES } from '../routes.ts';
import { createPlainRequests, type PlainRequestOptions } from './plain-request.ts';

export interface FastPathDeps extends PlainRequestOptions {
  readonly provider: Provider;
  /** the headers that every answer carries, names and values by turns */
  readonly rawHeaders: (request: IncomingMessage) => string[];
  /** the origin by which the client has come */
  readonly originOf: (request: IncomingMessage) => string | undefined;
}

/**
 * @returns undefined if the request is not plain, at once; otherwise whether it was answered: a form
 *   that the input gate refuses is not, and none in which a parameter occurs twice
 */
export type FastPath = (request: IncomingMessage, response: ServerResponse) => Promise<boolean> | undefined;

interface Options {
  readonly route: string;
  readonly method: string;
  /** those that the engine reads; at the token endpoint each grant names its own */
  readonly parameters?: ReadonlySet<string>;
  readonly exposeHeaders: string;
  readonly run: RunSteps;
}

interface Endpoint extends Options {
  readonly allowOrigin: Middleware;
  /** of a request without Origin: what the engine's CORS sets then */
  readonly corsHeaders: readonly string[];
}

export function createFastPath(deps: FastPathDeps): FastPath {
  const withNonce = 'DPoP-Nonce,WWW-Authenticate';
  const endpoints = new Map<string, Endpoint>([
    [
      ROUTES.token,
      endpoint({
        ...{ route: 'token', method: 'POST', exposeHeaders: withNonce },
        run: endpointSteps('token', 'grant.error'),
      }),
    ],
    [
      ROUTES.introspection,
      endpoint({
        ...{ route: 'introspection', method: 'POST', exposeHeaders: 'WWW-Authenticate' },
        parameters: INTROSPECTED,
        run: endpointSteps('introspection', 'introspection.error'),
      }),
    ],
    [
      ROUTES.userinfo,
      endpoint({
        ...{ route: 'userinfo', method: 'GET', exposeHeaders: withNonce },
        run: endpointSteps('userinfo', 'userinfo.error'),
      }),
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

const INTROSPECTED: ReadonlySet<string> = new Set([
  ...['token', 'token_type_hint', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
]);

function endpoint(options: Options): Endpoint {
  const { method, exposeHeaders } = options;
  return {
    ...options,
    allowOrigin: cors({ clientBased: true, allowMethods: method, exposeHeaders }),
    corsHeaders: ['Vary', 'Origin', 'Access-Control-Allow-Origin', '*', 'Access-Control-Expose-Headers', exposeHeaders],
  };
}

async function answer(
  { provider, rawHeaders, originOf }: FastPathDeps,
  { route, method, parameters, allowOrigin, run, corsHeaders }: Endpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const form = method === 'POST' ? await readForm(request) : undefined;
  const plain = form === undefined ? {} : form.outcome === 'accepted' ? parseForm(form.body, parameters) : undefined;
  if (form !== undefined && plain === undefined) keepForm(request, form);
  if (plain === undefined) return false;
  const ctx = createEngineContext(provider, request, response, route);
  ctx.state.origin = originOf(request);
  // Without Koa's setter, which would look at the type of every body.
  Object.defineProperty(ctx, 'body', { value: undefined, writable: true });
  Object.assign(ctx.oidc, { params: plain });
  const hasOrigin = request.headers.origin !== undefined;
  await runInContext(ctx, () => (hasOrigin ? allowOrigin(ctx, () => run(ctx, plain)) : run(ctx, plain)));
  // Where a client authenticates there is a form.
  if (form !== undefined && response.statusCode >= 400) challengeClient(ctx, provider.issuer);
  const headers = rawHeaders(request);
  if (!hasOrigin) headers.push(...corsHeaders);
  write(response, ctx.body, headers);
  return true;
}

/**
 * As the engine assembles them: an empty one counts as missing (RFC 6749 §3.1).
 * @returns undefined if one occurs twice
 */
function parseForm(body: string, names: ReadonlySet<string> | undefined): Parameters | undefined {
  // Has no prototype.
  const parameters = parse(body);
  for (const name in parameters) {
    const value = parameters[name];
    const isKnown = names === undefined ? name !== '__proto__' : names.has(name);
    if (!value || !isKnown) delete parameters[name];
    else if (typeof value !== 'string') return undefined;
  }
  return parameters;
}

/**
 * The fast path where it takes the request, the engine's own pipeline for the rest.
 * @param onBrokenOff an answer that breaks off must not end the process
 */
export function bothTransports(fastPath: FastPath, engine: Handler, onBrokenOff: OnBrokenOff): Handler {
  return (request, response) => {
    const answered = fastPath(request, response);
    if (answered === undefined) return engine(request, response);
    answered
      .then((isAnswered) => isAnswered || engine(request, response))
      .catch((error: unknown) => {
        onBrokenOff(error, request);
        response.destroy();
      });
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
type OnBrokenOff = (error: unknown, request: IncomingMessage) => void;

/** The engine answers with JSON, or with a JWT whose type it has set. */
function write(response: ServerResponse, body: unknown, headers: string[]): void {
  const isJwt = typeof body === 'string';
  const text = isJwt ? body : JSON.stringify(body);
  const sizeBytes = Buffer.byteLength(text);
  headers.push('Cache-Control', 'no-store', 'Content-Length', String(sizeBytes));
  if (!isJwt) headers.push('Content-Type', 'application/json; charset=utf-8');
  response.writeHead(response.statusCode, headers);
  response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8');
}
