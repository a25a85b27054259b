// The listeners of a server process: LANYARD_PORT, and LANYARD_TLS_PORT when it is set.

import { createServer, type RequestListener } from 'node:http';
import type { Config } from '../config/config.ts';
import type { Log } from '../log.ts';
import { gracefulShutdownOf } from '../server/graceful-shutdown.ts';
import { openTlsListener } from '../server/tls-listener.ts';
import { listen } from './listen.ts';

export interface Listeners {
  readonly port: number;
  /** of the TLS listener, when there is one */
  readonly tlsPort: number | undefined;
  /** New connections are refused; open ones keep being served. */
  stopAccepting(): void;
}

/** A client that sends its request more slowly holds a connection for nothing. */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: 30_000 };

/** @param opened receives what drains and closes the listeners, also when this fails. @throws Error when one cannot listen */
export async function openListeners(
  config: Pick<Config, 'host' | 'port' | 'tls'>,
  handler: RequestListener,
  log: Log,
  opened: AsyncDisposableStack,
): Promise<Listeners> {
  const { host, port } = config;
  const http = createServer(TIMEOUTS, handler);
  const tls = config.tls && (await openTlsListener(config.tls, TIMEOUTS, handler, log));
  opened.defer(() => tls?.stopReading());
  const shutdowns = [http, ...(tls === undefined ? [] : [tls.server])].map(gracefulShutdownOf);
  opened.defer(async () => void (await Promise.all(shutdowns.map((shutdown) => shutdown.drain()))));
  const variables = { host: 'LANYARD_HOST', port: 'LANYARD_PORT' };
  return {
    port: await listen(http, { host, port, variables }),
    tlsPort:
      tls &&
      (await listen(tls.server, { host, port: tls.port, variables: { ...variables, port: 'LANYARD_TLS_PORT' } })),
    stopAccepting() {
      for (const shutdown of shutdowns) shutdown.stopAccepting();
    },
  };
}
