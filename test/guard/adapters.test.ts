// The adapters in real Koa, Express and Fastify servers, over real sockets.

import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import express from 'express';
import fastify, { type FastifyRequest } from 'fastify';
import Koa, { type Context } from 'koa';
import {
  createGuard,
  expressGuard,
  fastifyGuard,
  type Guard,
  koaGuard,
  type Principal,
  type RouteRequirements,
} from '../../src/guard/index.ts';
import { AUDIENCE, startTinyIssuer, type TinyIssuer } from './tiny-issuer.ts';

interface ResourceServer {
  readonly port: number;
  close(): Promise<unknown>;
}
type Handler = (principal: Principal | undefined) => unknown;
type StartServer = (guard: Guard, handler: Handler, route?: RouteRequirements) => Promise<ResourceServer>;

const servers: Record<string, StartServer> = {
  async koa(guard, handler, route) {
    const app = new Koa();
    app.silent = true;
    app.use(koaGuard(guard, route));
    app.use((ctx: Context) => {
      ctx.body = handler(ctx.state.principal);
    });
    return listening(app.listen(0, '127.0.0.1'));
  },
  async express(guard, handler, route) {
    const app = express();
    app.get('/', expressGuard(guard, route), (req, res) => {
      res.json(handler((req as { principal?: Principal }).principal));
    });
    app.use((_error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
      res.status(500).json({ error: 'unexpected' });
    });
    return listening(app.listen(0, '127.0.0.1'));
  },
  async 'fastify preHandler'(guard, handler, route) {
    const app = fastify();
    app.get('/', { preHandler: fastifyGuard(guard, route) }, (request) => handler(principalOf(request)));
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: (app.server.address() as { port: number }).port, close: () => app.close() };
  },
  async 'fastify onRequest'(guard, handler, route) {
    const app = fastify();
    app.addHook('onRequest', fastifyGuard(guard, route));
    app.get('/', async (request) => handler(principalOf(request)));
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: (app.server.address() as { port: number }).port, close: () => app.close() };
  },
};

function principalOf(request: FastifyRequest): Principal | undefined {
  return (request as { principal?: Principal }).principal;
}

async function listening(server: import('node:http').Server): Promise<ResourceServer> {
  if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
  return {
    port: (server.address() as { port: number }).port,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

let tiny: TinyIssuer;
let guard: Guard;
beforeAll(async () => {
  tiny = await startTinyIssuer();
  guard = createGuard({
    issuer: tiny.issuer,
    audience: AUDIENCE,
    clients: ['app-a', 'app-c'],
    scopes: ['orders:read'],
    mode: 'jwt',
    realm: 'orders',
  });
});
afterAll(() => tiny.close());

describe.each(Object.keys(servers))('%s', (name) => {
  const start = servers[name] as StartServer;
  let server: ResourceServer;
  let restricted: ResourceServer;
  let broken: ResourceServer;
  let handled = 0;

  beforeAll(async () => {
    const handler: Handler = (principal) => {
      handled += 1;
      return { clientId: principal?.clientId, subject: principal?.subject };
    };
    server = await start(guard, handler);
    restricted = await start(guard, handler, { scopes: ['orders:write'], clients: ['app-c'] });
    const fail = () => Promise.reject(new RangeError('an error of the app'));
    const failing: Guard = { check: fail, checkRequest: fail, metadata: undefined };
    broken = await start(failing, handler);
  });
  afterAll(() => Promise.all([server.close(), restricted.close(), broken.close()]));
  beforeEach(() => {
    handled = 0;
  });

  async function call(to: ResourceServer, token?: string, path = '/') {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(`http://127.0.0.1:${to.port}${path}`, { headers });
    return { response, body: (await response.json()) as Record<string, unknown> };
  }

  test('a valid token reaches the handler with its principal', async () => {
    const { response, body } = await call(server, await tiny.issueJwt());
    expect(response.status).toBe(200);
    expect(body).toEqual({ clientId: 'app-a', subject: 'user-1' });
  });

  test('no token: 401, the challenge, a JSON body, and the handler does not run', async () => {
    const { response, body } = await call(server);
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="orders"');
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(body).toEqual({ error: 'missing_token', error_description: expect.any(String) });
    expect(handled).toBe(0);
  });

  test('the token of another client: 403 client_not_allowed', async () => {
    const { response, body } = await call(server, await tiny.issueJwt({ client_id: 'app-b', azp: 'app-b' }));
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toContain('error="client_not_allowed"');
    expect(body.error).toBe('client_not_allowed');
    expect(handled).toBe(0);
  });

  test('a forged token: 401 invalid_token', async () => {
    const { response, body } = await call(server, `${await tiny.issueJwt()}AAAA`);
    expect(response.status).toBe(401);
    expect(body.error).toBe('invalid_token');
    expect(handled).toBe(0);
  });

  test('a token without the scope: 403 insufficient_scope, naming the scopes', async () => {
    const { response, body } = await call(server, await tiny.issueJwt({ scope: 'profile' }));
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toContain('scope="orders:read"');
    expect(body.error).toBe('insufficient_scope');
    expect(handled).toBe(0);
  });

  test('a route may require more than the guard does', async () => {
    const tokenOfA = await tiny.issueJwt();
    const tokenOfC = await tiny.issueJwt({ client_id: 'app-c', azp: 'app-c' });
    const readerC = await tiny.issueJwt({ client_id: 'app-c', azp: 'app-c', scope: 'orders:read' });
    expect((await call(restricted, tokenOfA)).body.error).toBe('client_not_allowed');
    expect((await call(restricted, readerC)).body.error).toBe('insufficient_scope');
    expect((await call(restricted, tokenOfC)).body.clientId).toBe('app-c');
    expect(handled).toBe(1);
  });

  test('a token in the query string is not read: it would be in the logs of every proxy', async () => {
    const { response, body } = await call(server, undefined, `/?access_token=${await tiny.issueJwt()}`);
    expect(response.status).toBe(401);
    expect(body.error).toBe('missing_token');
    expect(handled).toBe(0);
  });

  test('two Authorization headers: 400, although Node returns the first one only', async () => {
    const token = await tiny.issueJwt();
    const socket = connect(server.port, '127.0.0.1');
    socket.end(
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nAUTHORIZATION: Bearer x\r\n\r\n`,
    );
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"invalid_request"');
    expect(handled).toBe(0);
  });

  test('an error that is not a refusal goes to the error handling of the app, and the handler does not run', async () => {
    const response = await fetch(`http://127.0.0.1:${broken.port}/`, { headers: { authorization: 'Bearer x' } });
    expect(response.status).toBe(500);
    expect(handled).toBe(0);
  });
});
