// /health/live: the process answers. /health/ready: it can serve requests, or why it cannot.

import Router from '@koa/router';

export const LIVENESS = { path: '/health/live', body: { status: 'live' } } as const;

/** @param reasonNotReady undefined when requests can be served */
export function healthRoutes(reasonNotReady: () => string | undefined): Router {
  const router = new Router({ prefix: '/health' });
  router.get('/live', (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = LIVENESS.body;
  });
  router.get('/ready', (ctx) => {
    const reason = reasonNotReady();
    ctx.set('Cache-Control', 'no-store');
    ctx.status = reason === undefined ? 200 : 503;
    ctx.body = reason === undefined ? { status: 'ready' } : { status: 'not ready', reason };
  });
  return router;
}
