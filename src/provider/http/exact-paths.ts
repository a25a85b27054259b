// The engine's router ignores case and a slash at the end; our middlewares in front of it (one
// transaction per token request, JWTs at introspection) compare paths. A request for /oauth2/TOKEN
// would bypass them, so that only the spelling in the discovery document is answered, and only with
// the methods of that endpoint.

import type { Middleware } from 'koa';

/** @param methods by path */
export function exactPaths(methods: ReadonlyMap<string, readonly string[]>): Middleware {
  return async (ctx, next) => {
    if (methods.has(ctx.path) || !methods.has(foldPath(ctx.path))) await next();
    if (ctx.status !== 404 || (ctx.body !== undefined && ctx.body !== null)) return;
    const allowed = methods.get(ctx.path);
    if (allowed === undefined || allowed.includes(ctx.method)) {
      ctx.body = { error: 'not_found', error_description: 'nothing answers at this address' };
      ctx.status = 404;
      return;
    }
    // RFC 9126 §2.3 and RFC 9110 §15.5.6
    ctx.set('Allow', allowed.join(', '));
    ctx.body = { error: 'invalid_request', error_description: `use ${allowed.join(' or ')}` };
    ctx.status = 405;
  };
}

function foldPath(path: string): string {
  return path.toUpperCase().toLowerCase().replace(/\/$/, '');
}
