// GET /: says to people what this server is, and where they can go. Other clients get 404, as for
// every address without an answer.

import Router from '@koa/router';
import type { Engine } from '../provider/engine.ts';
import { DISCOVERY_PATHS, ROUTES } from '../provider/routes.ts';
import { showPage } from './pages.ts';
import { appsOfBrowser } from './ways-on.ts';

export function startRoutes({ engine }: { engine: Engine }): Router {
  const router = new Router();
  router.get('/', async (ctx, next) => {
    ctx.vary('Accept');
    // `*/*` is no wish for HTML.
    if (ctx.accepts('json', 'html') !== 'html') return next();
    showPage(ctx, 'start', {
      links: await appsOfBrowser(engine, ctx),
      discovery: DISCOVERY_PATHS[0],
      adminApi: '/admin/v1/openapi.json',
      device: ROUTES.code_verification,
      logout: ROUTES.end_session,
    });
  });
  return router;
}
