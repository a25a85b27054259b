// The engine's router ignores case and a slash at the end; our middlewares around it (one transaction per token request, JWTs at
// introspection) go by the path. Whoever asked for /oauth2/TOKEN would get past them, so that only the spelling which the
// discovery document publishes is answered.

import type { Middleware } from 'koa';

export function exactPaths(paths: Iterable<string>): Middleware {
  const published = new Set(paths);
  return async (ctx, next) => {
    if (published.has(ctx.path) || !published.has(foldPath(ctx.path))) await next();
    if (ctx.status !== 404 || (ctx.body !== undefined && ctx.body !== null)) return;
    ctx.body = { error: 'not_found', error_description: 'nothing answers at this address' };
    ctx.status = 404;
  };
}

function foldPath(path: string): string {
  return path.toUpperCase().toLowerCase().replace(/\/$/, '');
}
