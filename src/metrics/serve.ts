// The HTTP server for those who collect the metrics, apart from the public port: GET /metrics and nothing else. It is given a function
// that reads the metrics, of this process or of several.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Exposition } from './metrics.ts';

export interface MetricsServerOptions {
  readonly read: () => Promise<Exposition>;
  readonly onError: (error: unknown) => void;
}

/** There is one small answer, and a collector that waits longer has given up. */
const TIMEOUT_MS = 10_000;
/** Collectors are few. Others must not take the descriptors that the process needs. */
const MAX_CONNECTIONS = 32;

/** @returns a server that does not listen yet */
export function createMetricsServer(options: MetricsServerOptions): Server {
  const timeouts = { headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS, connectionsCheckingInterval: 1_000 };
  const server = createServer(timeouts, (request, response) => {
    answer(request, response, options.read).catch((error: unknown) => {
      options.onError(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  read: MetricsServerOptions['read'],
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0];
  if (path !== '/metrics') {
    response.writeHead(404).end();
  } else if (request.method !== 'GET') {
    response.writeHead(405, { allow: 'GET' }).end();
  } else {
    const { contentType, body } = await read();
    response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(body);
  }
}
