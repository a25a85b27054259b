// Metrics of the clients' connections (server/connection-limits.ts).

import type { Registry } from 'prom-client';
import { counter, sampledGauge } from './instruments.ts';

/**
 * - `limit`: there were as many as the process may hold
 * - `pipelined`: more requests waited on it than may
 * - `unread`: the client did not read the answer
 */
export type DropReason = (typeof DROP_REASONS)[number];
const DROP_REASONS = ['limit', 'pipelined', 'unread'] as const;

export interface ConnectionCount {
  readonly open: number;
  /** undefined: none */
  readonly limit: number | undefined;
}

export interface ConnectionMetrics {
  watchConnections(read: () => ConnectionCount): void;
  connectionDropped(reason: DropReason): void;
}

export function createConnectionMetrics(registry: Registry): ConnectionMetrics {
  let count: (() => ConnectionCount) | undefined;
  sampledGauge(registry, 'lanyard_connections_open', 'Connections of clients.', () => count?.().open);
  sampledGauge(
    registry,
    'lanyard_connections_limit',
    'Maximum number of connections of clients.',
    () => count?.().limit,
  );
  const dropped = counter(
    registry,
    'lanyard_connections_dropped_total',
    'Connections refused at the limit, or closed because of what their client did.',
    ['reason'],
  );
  for (const reason of DROP_REASONS) dropped.inc({ reason }, 0);
  return {
    watchConnections(read) {
      count = read;
    },
    connectionDropped: (reason) => dropped.inc({ reason }),
  };
}
