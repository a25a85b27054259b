// How a server stops listening without losing a request.

import type { Server as HttpServer, ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { Server as NetServer } from 'node:net';

/** A client that has more to say on an open connection has said it by then. */
const SILENT_MS = 200;
/** Connections that are still open then are cut: whoever runs us will not wait longer either. */
const DRAIN_MS = 10_000;

export interface GracefulShutdown {
  /** Nobody new is let in. */
  close(): void;
  /** Resolves when everybody who was let in has been answered and is gone. */
  emptied(): Promise<void>;
}

/**
 * Requests that have begun, or are on their way on a connection that stood open, are answered, and each answer says that the
 * connection ends (RFC 9112 §9.6). A connection that stays silent is closed after a moment.
 */
export function gracefulShutdownOf(http: HttpServer | HttpsServer): GracefulShutdown {
  const unanswered = createOpenResponses<ServerResponse>();
  let isEmptying = false;
  http.prependListener('request', (_request, response: ServerResponse) => {
    if (isEmptying) response.shouldKeepAlive = false;
    response.once('close', unanswered.put(response));
  });
  let closed: Promise<void> | undefined;
  function close(): Promise<void> {
    closed ??= new Promise((resolve) => {
      // `http.close()` would also close every connection on which a request may be underway to us.
      NetServer.prototype.close.call(http, () => resolve());
    });
    return closed;
  }
  return {
    close: () => void close(),
    async emptied() {
      const idleTimer = setTimeout(() => http.closeIdleConnections(), SILENT_MS);
      const lastTimer = setTimeout(() => http.closeAllConnections(), DRAIN_MS);
      isEmptying = true;
      for (const response of unanswered.present()) response.shouldKeepAlive = false;
      // For an answer whose head has gone already (0 would mean: for ever).
      Object.assign(http, { keepAliveTimeout: 1, keepAliveTimeoutBuffer: 0 });
      await close();
      clearTimeout(idleTimer);
      clearTimeout(lastTimer);
    },
  };
}

/**
 * A set of responses that come and go by the thousand. A Set would do, but for the garbage collector: a table that a Set has
 * outgrown points to the next one, so that requests in it stay until the whole heap is swept (a fifth of the server's time).
 */
export interface OpenResponses<Item extends object> {
  /** @returns what takes it out again */
  put(item: Item): () => void;
  present(): Item[];
}

export function createOpenResponses<Item extends object>(): OpenResponses<Item> {
  const slots: (Item | undefined)[] = [];
  const free: number[] = [];
  return {
    put(item) {
      const slot = free.pop() ?? slots.length;
      slots[slot] = item;
      return () => {
        if (slots[slot] !== item) return;
        slots[slot] = undefined;
        free.push(slot);
      };
    },
    present: () => slots.filter((item) => item !== undefined),
  };
}
