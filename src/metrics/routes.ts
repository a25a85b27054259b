// GET /metrics on the public port (LANYARD_METRICS_ON_PUBLIC_PORT).

import Router from '@koa/router';
import type { Metrics } from './metrics.ts';

export function metricsRoutes(metrics: Pick<Metrics, 'read'>): Router {
  const router = new Router();
  router.get('/metrics', async (ctx) => {
    const { contentType, body } = await metrics.read();
    ctx.set('Cache-Control', 'no-store');
    ctx.set('Content-Type', contentType);
    ctx.body = body;
  });
  return router;
}
