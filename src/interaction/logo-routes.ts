// GET /logos/:clientId: the logo of an app that an operator has registered, from this server.

import Router from '@koa/router';
import { isSelfRegistered } from '../clients/client.ts';
import type { Engine } from '../provider/engine.ts';
import type { Logos } from './logos.ts';

/** Browsers show the former logo for so long after its host has another one. */
const MAX_AGE_SECONDS = 3600;

export function logoRoutes({ engine, logos }: { engine: Engine; logos: Pick<Logos, 'find'> }): Router {
  const router = new Router();
  router.get('/logos/:clientId', async (ctx, next) => {
    const client = await engine.directory.findClient(String(ctx.params.clientId));
    const logoUri = client?.metadata.logo_uri;
    if (client === undefined || client.isDisabled || isSelfRegistered(client) || logoUri === undefined) return next();
    const logo = await logos.find(logoUri);
    if (logo === undefined) return next();
    ctx.set('Cache-Control', `public, max-age=${MAX_AGE_SECONDS}`);
    ctx.set('Cross-Origin-Resource-Policy', 'same-origin');
    ctx.type = logo.type;
    ctx.body = Buffer.from(logo.bytes);
  });
  return router;
}
