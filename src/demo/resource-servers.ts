// The two APIs of the demo, as their developers would write them: real HTTP servers that know the address of the issuer, their own
// identifier, and the clients whose tokens they accept. In another project the guard is imported from 'lanyard/guard'.

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import Koa from 'koa';
import { createGuard, expressGuard, koaGuard, type Principal } from '../guard/index.ts';

export const ORDERS = 'https://orders.example';
export const BILLING = 'https://billing.example';

export interface Api {
  readonly url: string;
  stop(): Promise<void>;
}

/** Koa; verifies JWTs by itself, without asking Lanyard about each. Accepts tokens of shop. */
export function startOrders(issuer: string): Promise<Api> {
  const guard = createGuard({
    issuer,
    audience: ORDERS,
    clients: ['shop'],
    mode: 'jwt',
    // Both run on one machine and so by one clock; otherwise leave it at 5 seconds.
    clockToleranceSeconds: 0,
  });
  const app = new Koa();
  app.use(koaGuard(guard, { scopes: ['orders:read'] }));
  app.use((ctx) => {
    ctx.body = describe(ctx.state.principal);
  });
  return listen(app.callback());
}

/** Express; asks Lanyard about every token, so that a revocation counts at once. Accepts tokens of reports. */
export function startBilling(issuer: string, introspection: { clientId: string; clientSecret: string }): Promise<Api> {
  const guard = createGuard({ issuer, audience: BILLING, clients: ['reports'], mode: 'introspection', introspection });
  const app = express();
  app.use(expressGuard(guard, { scopes: ['billing:read'] }));
  app.use((request, response) => {
    response.json(describe((request as { principal?: Principal }).principal as Principal));
  });
  return listen(app);
}

function describe(principal: Principal) {
  return { client: principal.clientId, subject: principal.subject, scopes: principal.scopes };
}

async function listen(handler: RequestListener): Promise<Api> {
  const server = createServer(handler);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
