// The API of a recipe behind our guard, run twice: as the server that accepts the client, and as the server of another app, which does
// not. It answers with the id of the token, by which the driver sees that a refresh has led to another one.

import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import Koa from 'koa';
import {
  createGuard,
  expressGuard,
  expressResourceMetadata,
  type GuardOptions,
  koaGuard,
  type Principal,
} from '../src/guard/index.ts';
import type { Recipe } from './recipe.ts';
import { API_SCOPE, RESOURCE, type Stage } from './stage.ts';

export interface Apis {
  /** the identifier of the resource server */
  readonly resource: string;
  readonly url: string;
  /** accepts tokens for the same resource server, but of another client */
  readonly otherUrl: string;
  stop(): void;
}

/** Lets the client call the API. */
export async function startApis(stage: Stage, clientId: string, { api = 'http' }: Recipe): Promise<Apis> {
  const servers = await Promise.all([listen(), listen()]);
  const [url, otherUrl] = servers.map((server) => `${originOf(server)}${api === 'mcp' ? '/mcp' : '/'}`) as [
    string,
    string,
  ];
  // An agent takes the address of the MCP server for the identifier (RFC 9728 §3.3).
  const resource = api === 'mcp' ? url : RESOURCE;
  const guard = { issuer: stage.issuer, audience: resource, scopes: [API_SCOPE] };
  const handle = api === 'mcp' ? mcpApi : httpApi;
  const accepting =
    api === 'mcp' ? await registerForAgents(stage, resource) : ({ mode: 'jwt', clients: [clientId] } as const);
  await stage.admin.allow(clientId, resource, [API_SCOPE]);
  servers[0]?.on('request', handle({ ...guard, ...accepting }));
  servers[1]?.on('request', handle({ ...guard, mode: 'jwt', clients: ['another-app'] }));
  return {
    resource,
    url,
    otherUrl,
    stop() {
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

/** As docs/mcp.md shows it: the server of agents that register themselves. */
async function registerForAgents({ admin }: Stage, resource: string) {
  const introspection = await admin.createClient();
  await admin.createApi(resource, {
    name: 'Orders for agents',
    scopes: [API_SCOPE],
    introspection_client_id: introspection.clientId,
    self_registered_clients: { scopes: [API_SCOPE] },
  });
  return { mode: 'introspection', clients: 'granted', introspection } as const;
}

function httpApi(options: GuardOptions): RequestListener {
  const guard = createGuard(options);
  const app = new Koa();
  app.use(letBrowsersCall);
  app.use(koaGuard(guard));
  app.use((ctx) => {
    ctx.body = answer(ctx.state.principal);
  });
  return app.callback();
}

/** As docs/mcp.md shows it, with one tool. */
function mcpApi(options: GuardOptions): RequestListener {
  const guard = createGuard({ ...options, metadata: { name: 'Orders for agents' } });
  const app = express();
  app.use(expressResourceMetadata(guard));
  app.post('/mcp', expressGuard(guard) as express.RequestHandler, express.json(), async (request, response) => {
    const orders = new McpServer({ name: 'orders', version: '1.0.0' });
    const { principal } = request as unknown as { principal: Principal };
    orders.registerTool('whoami', { description: 'Who is calling' }, () => ({
      content: [{ type: 'text', text: JSON.stringify(answer(principal)) }],
    }));
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    response.on('close', () => void orders.close());
    await orders.connect(transport as never);
    await transport.handleRequest(request, response, request.body);
  });
  return app;
}

function answer({ clientId, subject, tokenId }: Principal) {
  return { client: clientId, subject, token: tokenId };
}

/** As an API for single-page apps does; the guard does not decide about origins. */
async function letBrowsersCall(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  ctx.set('access-control-allow-origin', '*');
  ctx.set('access-control-allow-headers', 'authorization');
  if (ctx.method === 'OPTIONS') ctx.status = 204;
  else await next();
}

function listen(): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
