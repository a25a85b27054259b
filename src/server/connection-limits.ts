// How much of a process its connections may take, so that none keeps it from answering the others: how many there are, how long one
// is kept for a client that sends or reads nothing, and how many requests may wait on one.

import type { Server as HttpServer, RequestListener, ServerOptions } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Log } from '../log.ts';
import type { ConnectionMetrics, DropReason } from '../metrics/connections.ts';

/** Neither a byte sent by the client, nor one read by it, for so long; and how long the head of a request may take. */
const SILENCE_MS = 10_000;
/** A client that sends its request more slowly holds a connection for nothing. */
const REQUEST_MS = 30_000;
/** How exactly Node keeps the times of head and request; by default it looks every half minute. */
const CHECK_INTERVAL_MS = 1_000;
/**
 * Requests on one connection that are not answered yet (RFC 9112 §9.3.2). Node reads a thousand at once, and keeps every answer in
 * memory until those before it are sent. Clients hardly send one before they have the answer to the last.
 */
const MAX_PIPELINED = 32;
/** While connections are dropped, one line in so long says how many. */
const LOG_INTERVAL_MS = 10_000;

export interface ConnectionLimitDeps {
  /** of each listener; undefined: no limit */
  readonly maxConnections: number | undefined;
  readonly keepAliveSeconds: number;
  readonly metrics: Pick<ConnectionMetrics, 'watchConnections' | 'connectionDropped'>;
  readonly log: Log;
}

export interface ConnectionLimits {
  /** for `createServer`, of http and https */
  readonly options: ServerOptions & { readonly handshakeTimeout: number };
  /** @returns a listener that answers no request of a connection on which too many wait */
  limitRequests(handler: RequestListener): RequestListener;
  limitConnections(server: HttpServer | HttpsServer): void;
}

export function createConnectionLimits(deps: ConnectionLimitDeps): ConnectionLimits {
  const { maxConnections, metrics } = deps;
  const unanswered = new WeakMap<Socket, { count: number }>();
  const report = createDropReport(deps);
  let open = 0;
  let limit = 0;
  metrics.watchConnections(() => ({ open, limit: maxConnections === undefined ? undefined : limit }));

  function drop(socket: Socket, reason: DropReason): void {
    report(reason);
    socket.destroy();
  }

  /** Node's own timeouts end here too. A client that waits for a slow answer is silent without a fault. */
  function onSilence(socket: Socket): void {
    if (socket.writableLength > 0) drop(socket, 'unread');
    else if (!unanswered.get(socket)?.count) socket.destroy();
  }

  return {
    options: {
      headersTimeout: SILENCE_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      keepAliveTimeout: deps.keepAliveSeconds * 1000,
      handshakeTimeout: SILENCE_MS,
      // The prelude does, with an answer that says so.
      requireHostHeader: false,
    },
    limitRequests(handler) {
      return (request, response) => {
        const { socket } = request;
        // What Node had read of it before it was dropped.
        if (socket.destroyed) return;
        const waiting = unanswered.get(socket) ?? { count: 0 };
        if (waiting.count === 0) unanswered.set(socket, waiting);
        if (waiting.count >= MAX_PIPELINED) return drop(socket, 'pipelined');
        waiting.count++;
        response.once('close', () => void waiting.count--);
        handler(request, response);
      };
    },
    limitConnections(server) {
      server.timeout = SILENCE_MS;
      server.on('timeout', onSilence);
      server.on('connection', (socket: Socket) => {
        open++;
        socket.once('close', () => void open--);
      });
      // Without dropMaxConnection a worker passes the connection on, to the next one that has no room either.
      if (maxConnections !== undefined) Object.assign(server, { maxConnections, dropMaxConnection: true });
      limit += maxConnections ?? 0;
      server.on('drop', () => report('limit'));
      // Without a descriptor for it. What goes wrong before that, listen() reports.
      server.on('error', () => {
        if (server.listening) report('limit');
      });
    },
  };
}

const MESSAGES: Readonly<Record<DropReason, string>> = {
  limit: 'connections were refused: there are as many as the limit of file descriptors allows',
  pipelined: 'connections were closed: too many requests waited on them',
  unread: 'connections were closed: the client did not read the answer',
};

/** Counts each one, and logs the first at once. */
function createDropReport({ metrics, log, maxConnections }: ConnectionLimitDeps): (reason: DropReason) => void {
  const pending = new Map<DropReason, { connections: number; loggedAt: number }>();
  return (reason) => {
    metrics.connectionDropped(reason);
    const { connections, loggedAt } = pending.get(reason) ?? { connections: 0, loggedAt: Number.NEGATIVE_INFINITY };
    const now = performance.now();
    const isDue = now - loggedAt >= LOG_INTERVAL_MS;
    pending.set(reason, isDue ? { connections: 0, loggedAt: now } : { connections: connections + 1, loggedAt });
    if (!isDue) return;
    log.warn(
      { connections: connections + 1, ...(reason === 'limit' ? { limit: maxConnections } : {}) },
      MESSAGES[reason],
    );
  };
}
