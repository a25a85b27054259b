// The fast path: a second transport to the token, introspection and userinfo endpoints. It reads a plain request, runs the same
// steps as the engine's own pipeline (client authentication, grants, answers, errors) without Koa's router and response, and writes
// the answer in one piece. Which requests it takes is decided by plain-request, before anything is looked up; what it has taken it
// answers, errors included. test/provider/fast-path* and the differential fuzzer send requests through both transports.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'node:querystring';
import type { Middleware } from 'koa';
import compose from 'koa-compose';
import type Provider from 'oidc-provider';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { createEngineContext, runInContext } from '../engine-internals.ts';
import { cors, endpointSteps, withoutRepetition } from '../engine-steps.ts';
import { readForm } from '../http/form-body.ts';
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

/** @returns undefined if the request is not plain, at once; otherwise whether it was answered: a form that the input gate refuses is not */
export type FastPath = (request: IncomingMessage, response: ServerResponse) => Promise<boolean> | undefined;

type Run = (ctx: KoaContextWithOIDC) => Promise<void>;

interface Options {
  readonly route: string;
  readonly method: string;
  /** those that the engine reads; at the token endpoint each grant names its own */
  readonly parameters?: ReadonlySet<string>;
  readonly exposeHeaders: string;
}

interface Endpoint extends Options {
  readonly allowOrigin: Middleware;
  readonly run: Run;
  /** for a request without a parameter that occurs twice */
  readonly runUnrepeated: Run;
  /** of a request without Origin: what the engine's CORS sets then */
  readonly corsHeaders: readonly string[];
}

export function createFastPath(deps: FastPathDeps): FastPath {
  const { clientChallenge } = deps;
  const withNonce = 'DPoP-Nonce,WWW-Authenticate';
  const endpoints = new Map<string, Endpoint>([
    [
      ROUTES.token,
      endpoint({ route: 'token', method: 'POST', exposeHeaders: withNonce }, [
        clientChallenge,
        ...endpointSteps('token', 'grant.error'),
      ]),
    ],
    [
      ROUTES.introspection,
      endpoint(
        { route: 'introspection', method: 'POST', parameters: INTROSPECTED, exposeHeaders: 'WWW-Authenticate' },
        [clientChallenge, ...endpointSteps('introspection', 'introspection.error')],
      ),
    ],
    [
      ROUTES.userinfo,
      endpoint(
        { route: 'userinfo', method: 'GET', exposeHeaders: withNonce },
        endpointSteps('userinfo', 'userinfo.error'),
      ),
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

function endpoint(options: Options, steps: Middleware[]): Endpoint {
  const { method, exposeHeaders } = options;
  return {
    ...options,
    allowOrigin: cors({ clientBased: true, allowMethods: method, exposeHeaders }),
    run: compose(steps) as Run,
    runUnrepeated: compose(withoutRepetition(steps)) as Run,
    corsHeaders: ['Vary', 'Origin', 'Access-Control-Allow-Origin', '*', 'Access-Control-Expose-Headers', exposeHeaders],
  };
}

async function answer(
  { provider, rawHeaders, originOf }: FastPathDeps,
  { route, method, parameters, allowOrigin, run, runUnrepeated, corsHeaders }: Endpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const form = method === 'POST' ? await readForm(request) : undefined;
  if (form !== undefined && form.outcome !== 'accepted') return false;
  const ctx = createEngineContext(provider, request, response, route);
  ctx.state.origin = originOf(request);
  // Without Koa's setter, which would look at the type of every body.
  Object.defineProperty(ctx, 'body', { value: undefined, writable: true });
  const params = form === undefined ? undefined : toParams(form.body, parameters);
  if (params !== undefined) Object.assign(ctx.oidc, { params });
  const runSteps = Object.values(params ?? {}).some(Array.isArray) ? run : runUnrepeated;
  const hasOrigin = request.headers.origin !== undefined;
  await runInContext(ctx, async () => (hasOrigin ? allowOrigin(ctx, () => runSteps(ctx)) : runSteps(ctx)));
  write(response, ctx.body, [...rawHeaders(request), ...(hasOrigin ? [] : corsHeaders), 'Cache-Control', 'no-store']);
  return true;
}

/** As the engine assembles them: an empty one counts as missing (RFC 6749 §3.1), one that occurs twice is a list. */
function toParams(body: string, names: ReadonlySet<string> | undefined): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(parse(body))) {
    // No parameter of ours; on a plain object it would be the prototype.
    if (name === '__proto__') continue;
    if (value && (names === undefined || names.has(name))) params[name] = value;
  }
  return params;
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
function write(response: ServerResponse, body: unknown, headers: readonly string[]): void {
  const isJwt = typeof body === 'string';
  const text = isJwt ? body : JSON.stringify(body);
  const sizeBytes = Buffer.byteLength(text);
  const type = isJwt ? [] : ['Content-Type', 'application/json; charset=utf-8'];
  response.writeHead(response.statusCode, [...headers, ...type, 'Content-Length', String(sizeBytes)]);
  response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8');
}
