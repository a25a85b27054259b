// The listener for whoever collects the numbers, apart from the public port: GET /metrics and nothing else. It knows nothing
// about the metrics but a function that reads them, which may as well add up those of several processes.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Exposition } from './metrics.ts';

export interface MetricsListener {
  readonly port: number;
  close(): Promise<void>;
}

export interface MetricsListenerOptions {
  readonly host: string;
  /** 0: any that is free */
  readonly port: number;
  readonly read: () => Promise<Exposition>;
  readonly onError: (error: unknown) => void;
}

/** It has one small answer to give, and a collector that waits longer has given up. */
const TIMEOUT_MS = 10_000;

/** @throws Error naming the variables when it cannot listen there */
export async function serveMetrics(options: MetricsListenerOptions): Promise<MetricsListener> {
  const http = createServer({ headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS }, (request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      options.onError(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  const port = await listen(http, options);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        // A scrape that is cut off is repeated; stopping does not wait for it.
        http.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: MetricsListenerOptions,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0];
  if (path !== '/metrics') {
    response.writeHead(404).end();
  } else if (request.method !== 'GET') {
    response.writeHead(405, { allow: 'GET' }).end();
  } else {
    const { contentType, body } = await options.read();
    response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(body);
  }
}

function listen(http: Server, { port, host }: MetricsListenerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const text = `cannot listen on LANYARD_METRICS_HOST ${host}, LANYARD_METRICS_PORT ${port}: ${cause.message}`;
      reject(Object.assign(new Error(text, { cause }), { code: cause.code }));
    };
    http.once('error', refuse);
    http.listen(port, host, () => {
      http.off('error', refuse);
      resolve((http.address() as { port: number }).port);
    });
  });
}
