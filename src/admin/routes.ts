// The operators' door, /admin/v1: mounts the routes of all features behind the guard, each with the scope it asks for.

import Router from '@koa/router';
import type { Middleware } from 'koa';
import type { ChangeFeed } from '../database/change-feed.ts';
import { koaGuard } from '../guard/adapters/koa.ts';
import type { Guard } from '../guard/guard.ts';
import { type ApiRoute, mountApiRoute } from '../http/api-route.ts';
import { openApiDocument } from './openapi.ts';

export function adminRoutes(deps: {
  guard: Guard;
  routes: readonly ApiRoute[];
  issuer: string;
  version: string;
  changes: Pick<ChangeFeed, 'settled'>;
}): Router {
  const router = new Router({ prefix: '/admin/v1' });
  // Made when somebody asks for it: few do, and it is not small.
  let document: unknown;
  // The description of the door is no secret; everything behind it is.
  router.get('/openapi.json', (ctx) => {
    document ??= openApiDocument(deps.routes, { issuer: deps.issuer, version: deps.version });
    ctx.body = document;
  });
  // Whoever has the answer to a change finds it in force here. (The other nodes hear of it in the same moment.)
  router.use(async (ctx, next) => {
    await next();
    if (ctx.method !== 'GET') await deps.changes.settled();
  });
  for (const route of deps.routes) {
    mountApiRoute(router, route, koaGuard(deps.guard, { scopes: [route.scope] }) as Middleware);
  }
  return router;
}
