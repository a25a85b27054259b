// /admin/v1: mounts the routes of all features behind the guard, each with the scope that it
// requires.

import Router from '@koa/router';
import { koaGuard } from '../guard/adapters/koa.ts';
import type { Guard } from '../guard/guard.ts';
import { type ApiRoute, mountApiRoute } from '../http/api-route.ts';
import { openApiDocument } from './openapi.ts';

export function adminRoutes(deps: {
  guard: Guard;
  routes: readonly ApiRoute[];
  issuer: string;
  version: string;
}): Router {
  const router = new Router({ prefix: '/admin/v1' });
  // Made at the first request: few installations need it, and it is large.
  let document: unknown;
  // The description of the API is public.
  router.get('/openapi.json', (ctx) => {
    document ??= openApiDocument(deps.routes, { issuer: deps.issuer, version: deps.version });
    ctx.body = document;
  });
  for (const route of deps.routes) {
    mountApiRoute(router, route, koaGuard(deps.guard, { scopes: [route.scope] }));
  }
  return router;
}
