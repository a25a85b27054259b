// /health/live: the process answers. /health/ready: it can serve requests.

import Router from '@koa/router';

export function healthRoutes(isReady: () => Promise<boolean>): Router {
  const router = new Router({ prefix: '/health' });
  router.get('/live', (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { status: 'live' };
  });
  router.get('/ready', async (ctx) => {
    const ready = await isReady();
    ctx.set('Cache-Control', 'no-store');
    ctx.status = ready ? 200 : 503;
    ctx.body = { status: ready ? 'ready' : 'not ready' };
  });
  return router;
}
