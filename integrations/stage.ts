// What every recipe meets: a fresh Lanyard as its operator starts it, a user, and an API behind our guard. The API runs twice for each
// client: once it accepts the client, once only another app.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { createGuard, koaGuard } from '../src/guard/index.ts';
import { type AdminClient, createAdminClient, type TestClient } from '../test/support/admin.ts';
import { makeHome, removeHome, start, stop } from '../test/support/process.ts';

export const USER = {
  username: 'alice',
  password: 'correct horse battery',
  email: 'alice@wonderland.example',
  name: 'Alice Liddell',
};
export const RESOURCE = 'https://orders.example';
export const API_SCOPE = 'orders:read';
export const SCOPE = `openid profile email offline_access ${API_SCOPE}`;

export interface Stage {
  readonly issuer: string;
  readonly admin: AdminClient;
  /** the newest lines of the log about what was refused or went wrong */
  log(): string[];
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const home = await makeHome();
  const adminSecret = randomBytes(24).toString('base64url');
  const env = { LANYARD_ADMIN_CLIENT_SECRET: adminSecret };
  const lanyard = await start({ home, env }).catch(async (error: unknown) => {
    await removeHome(home);
    throw error;
  });
  const admin = createAdminClient(lanyard.issuer, adminSecret);
  await admin.createApi(RESOURCE, { name: 'Orders', scopes: [API_SCOPE] });
  await admin.createUser(USER.username, USER.password, {
    email: USER.email,
    claims: { name: USER.name, email_verified: true },
  });
  return {
    issuer: lanyard.issuer,
    admin,
    log: () => lanyard.stdout.split('\n').filter(isTrouble).slice(-20),
    async stop() {
      await stop(lanyard);
      await removeHome(home);
    },
  };
}

function isTrouble(line: string): boolean {
  return /"level":"(warn|error|fatal)"|"msg":"refused"|"status":[45]/.test(line);
}

/** Registers the client, and lets it call the API. */
export async function registerClient({ admin }: Stage, metadata: Record<string, unknown>): Promise<TestClient> {
  // Recipes before this one may have taken longer than the token lives.
  admin.forgetToken();
  const client = await admin.createClient(metadata);
  await admin.allow(client.clientId, RESOURCE, [API_SCOPE]);
  return client;
}

export interface Api {
  readonly url: string;
  stop(): void;
}

/** @param clientId the only one whose tokens it accepts */
export async function startApi(issuer: string, clientId: string): Promise<Api> {
  const app = new Koa();
  const guard = createGuard({ issuer, audience: RESOURCE, clients: [clientId], scopes: [API_SCOPE], mode: 'jwt' });
  app.use(letBrowsersCall);
  app.use(koaGuard(guard));
  app.use((ctx) => {
    const { clientId, subject, tokenId } = ctx.state.principal;
    // By the token's id the driver sees that a refresh has led to another token.
    ctx.body = { client: clientId, subject, token: tokenId };
  });
  const server = createServer(app.callback());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** As an API for single-page apps does; the guard does not decide about origins. */
async function letBrowsersCall(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  ctx.set('access-control-allow-origin', '*');
  ctx.set('access-control-allow-headers', 'authorization');
  if (ctx.method === 'OPTIONS') ctx.status = 204;
  else await next();
}
