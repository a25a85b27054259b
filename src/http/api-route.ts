// An endpoint of the admin API as one value: what it takes (zod schemas), what it answers, and its
// handler. The schemas parse the requests, and the OpenAPI document is generated from the same
// ones, so that the two cannot differ.

import type Router from '@koa/router';
import type { Middleware } from 'koa';
import { z } from 'zod';
import { AppError, type VersionCondition } from '../errors.ts';
import { type Conditions, failedCondition, readConditions } from '../guard/entity-tag.ts';
import { assertEncodedText, parse, readJson } from './body.ts';
import { requestId } from './request-log.ts';

/** The client that calls, in the words of the audit log. */
export interface Caller {
  /** `client:<client_id>` of the presented token */
  readonly actor: string;
  readonly requestId: string;
}

export interface ApiRequest<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** undefined: without If-Match and If-None-Match */
  readonly ifVersion: VersionCondition;
  readonly by: Caller;
  /** of the presented token */
  readonly callerClientId: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly version?: number;
  readonly location?: string;
}

export interface ApiRoute<Params = unknown, Query = unknown, Body = unknown> {
  readonly operationId: string;
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** below /admin/v1, with `{name}` for parameters */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly scope: 'admin:read' | 'admin:write';
  /** the handler changes something that has an ETag, and regards `ifVersion` */
  readonly isConditional?: boolean;
  readonly params: z.ZodType<Params>;
  readonly query: z.ZodType<Query>;
  readonly body: z.ZodType<Body> | undefined;
  /** the successful answers; problems are the same everywhere */
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema?: z.ZodType }>>;
  handle(request: ApiRequest<Params, Query, Body>): Promise<ApiAnswer>;
}

type RouteInput<Params, Query, Body> = Omit<ApiRoute<Params, Query, Body>, 'params' | 'query' | 'body'> & {
  readonly params?: z.ZodType<Params>;
  readonly query?: z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
};

const NOTHING = z.strictObject({});

/** The type parameters follow from the schemas. A route without parameters takes none. */
export function apiRoute<Params = Record<string, never>, Query = Record<string, never>, Body = undefined>(
  input: RouteInput<Params, Query, Body>,
): ApiRoute {
  return { ...input, params: input.params ?? NOTHING, query: input.query ?? NOTHING, body: input.body };
}

/** Mounts a route behind its guard, which puts the principal into `ctx.state` or answers itself. */
export function mountApiRoute(router: Router, route: ApiRoute, guard: Middleware): void {
  const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1');
  router[route.method](path, guard, async (ctx) => {
    const params = parse(route.params, { ...ctx.params }, ':');
    assertEncodedText(ctx.querystring, '?');
    const query = parse(route.query, { ...ctx.query }, '?');
    const body = route.body === undefined ? undefined : parse(route.body, await readJson(ctx), '/');
    const conditions = readConditions(ctx.headers);
    assertHasVersion(route, conditions);
    const callerClientId: string = ctx.state.principal.clientId;
    const answer = await route.handle({
      params,
      query,
      body,
      ifVersion: toVersionCondition(conditions),
      by: { actor: `client:${callerClientId}`, requestId: requestId(ctx) },
      callerClientId,
    });
    ctx.status = answer.status;
    ctx.set('Cache-Control', 'no-store');
    if (answer.version !== undefined) ctx.set('ETag', tagOf(answer.version));
    if (isKnown(route, answer, conditions)) {
      ctx.status = 304;
      return;
    }
    if (answer.location !== undefined) ctx.set('Location', answer.location);
    if (answer.body !== undefined) ctx.body = answer.body;
  });
}

const tagOf = (version: number) => `"${version}"`;

function toVersionCondition(conditions: Conditions): VersionCondition {
  if (conditions.ifMatch === undefined && conditions.ifNoneMatch === undefined) return undefined;
  return (version) => failedCondition(conditions, version === undefined ? undefined : tagOf(version)) === undefined;
}

/**
 * RFC 9110 §13.1.1: a change must not be made when the condition is false, and what has no ETag has none of those.
 * @throws AppError `precondition_failed`
 */
function assertHasVersion({ method, isConditional }: ApiRoute, { ifMatch }: Conditions): void {
  if (method === 'get' || isConditional || ifMatch === undefined || ifMatch === '*') return;
  throw new AppError('precondition_failed', 'leave out If-Match: there is no ETag here');
}

/**
 * Whether the caller has what it has asked for (RFC 9110 §13.2.2).
 * @throws AppError `precondition_failed`
 */
function isKnown({ method }: ApiRoute, { version }: ApiAnswer, conditions: Conditions): boolean {
  if (method !== 'get' || version === undefined) return false;
  const failed = failedCondition(conditions, tagOf(version));
  if (failed === 'If-Match') throw new AppError('precondition_failed', 'read it again, without If-Match');
  return failed === 'If-None-Match';
}
