// How a server stops listening without losing a request.

import type { Server as HttpServer, ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';

/** A client that sends another request on an open connection has sent it by then. */
const IDLE_TIMEOUT_MS = 200;
/** Connections that are still open then are cut, before a supervisor loses patience and kills the process. */
const DRAIN_TIMEOUT_MS = 10_000;

export interface GracefulShutdown {
  /** New connections are refused; open ones keep being served. */
  stopAccepting(): void;
  /** Resolves when every request that has begun is answered, and every connection closed. */
  drain(): Promise<void>;
}

/**
 * Requests that have begun, or are on their way on an open connection, are answered, and each answer says that the connection
 * ends (RFC 9112 §9.6). A connection that stays idle is closed after a moment.
 */
export function gracefulShutdownOf(http: HttpServer | HttpsServer): GracefulShutdown {
  const connections = createOpenSet<Socket>();
  const unanswered = createOpenSet<ServerResponse>();
  let isDraining = false;
  // An https server emits both: the connection below TLS, and the one whose bytes are the client's.
  for (const event of ['connection', 'secureConnection']) {
    http.on(event, (socket: Socket) => void socket.once('close', connections.add(socket)));
  }
  http.prependListener('request', (_request, response: ServerResponse) => {
    if (isDraining) response.shouldKeepAlive = false;
    response.once('close', unanswered.add(response));
  });
  let closed: Promise<void> | undefined;
  function close(): Promise<void> {
    closed ??= new Promise((resolve) => {
      // `http.close()` would also close connections on which a request may be on its way.
      NetServer.prototype.close.call(http, () => resolve());
    });
    return closed;
  }
  function closeIdleConnections(): void {
    http.closeIdleConnections();
    // To Node a connection on which nothing was ever sent is one that waits for a request, not an idle one.
    for (const socket of connections.list()) if (socket.bytesRead === 0) socket.destroy();
  }
  return {
    stopAccepting: () => void close(),
    async drain() {
      const idleTimer = setTimeout(closeIdleConnections, IDLE_TIMEOUT_MS);
      const drainTimer = setTimeout(() => http.closeAllConnections(), DRAIN_TIMEOUT_MS);
      isDraining = true;
      for (const response of unanswered.list()) response.shouldKeepAlive = false;
      // For an answer whose head has been sent already (0 would mean: for ever).
      Object.assign(http, { keepAliveTimeout: 1, keepAliveTimeoutBuffer: 0 });
      await close();
      clearTimeout(idleTimer);
      clearTimeout(drainTimer);
    },
  };
}

/**
 * The responses or connections that are open, of which thousands come and go. A Set would do, but for the garbage collector: the table
 * that a Set has outgrown points to the next one, which keeps requests alive until the whole heap is swept (a fifth of the CPU).
 */
export interface OpenSet<Item extends object> {
  /** @returns a function that removes it */
  add(item: Item): () => void;
  list(): Item[];
}

export function createOpenSet<Item extends object>(): OpenSet<Item> {
  const slots: (Item | undefined)[] = [];
  const free: number[] = [];
  return {
    add(item) {
      const slot = free.pop() ?? slots.length;
      slots[slot] = item;
      return () => {
        if (slots[slot] !== item) return;
        slots[slot] = undefined;
        free.push(slot);
      };
    },
    list: () => slots.filter((item) => item !== undefined),
  };
}
