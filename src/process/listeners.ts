// The listeners of a server process: LANYARD_PORT, and LANYARD_TLS_PORT when it is set.

import { createServer, type RequestListener } from 'node:http';
import type { Config } from '../config/config.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { answerConnect } from '../server/connect-requests.ts';
import { createConnectionLimits } from '../server/connection-limits.ts';
import { connectionLimit, readDescriptorLimit } from '../server/descriptor-limit.ts';
import { gracefulShutdownOf } from '../server/graceful-shutdown.ts';
import { openTlsListener, type TlsTexts } from '../server/tls-listener.ts';
import { listen } from './listen.ts';

export interface ListenerDeps {
  readonly config: Pick<Config, 'host' | 'port' | 'tls' | 'keepAliveSeconds' | 'databasePoolSize'>;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly tlsTexts?: TlsTexts | undefined;
}

export interface Listeners {
  readonly port: number;
  /** of the TLS listener, when there is one */
  readonly tlsPort: number | undefined;
  /** New connections are refused; open ones keep being served. */
  stopAccepting(): void;
}

/** @param opened receives what drains and closes the listeners, also when this fails. @throws Error when one cannot listen */
export async function openListeners(
  deps: ListenerDeps,
  handler: RequestListener,
  opened: AsyncDisposableStack,
): Promise<Listeners> {
  const { host, port, tls: tlsConfig } = deps.config;
  const limits = await createLimits(deps);
  const limited = limits.limitRequests(handler);
  const http = createServer(limits.options, limited);
  const tls =
    tlsConfig && (await openTlsListener({ ...tlsConfig, known: deps.tlsTexts }, limits.options, limited, deps.log));
  opened.defer(() => tls?.stopReading());
  const servers = [http, ...(tls === undefined ? [] : [tls.server])];
  for (const server of servers) {
    limits.limitConnections(server);
    answerConnect(server);
  }
  const shutdowns = servers.map(gracefulShutdownOf);
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

async function createLimits({ config, metrics, log }: ListenerDeps) {
  const { keepAliveSeconds, databasePoolSize, tls } = config;
  const listeners = tls === undefined ? 1 : 2;
  const maxConnections = connectionLimit(await readDescriptorLimit(), { databasePoolSize, listeners });
  return createConnectionLimits({ maxConnections, keepAliveSeconds, metrics, log });
}
