// The messages between the primary and its workers. Secrets go through the pipe between the two, not through the environment or
// the command line, which other processes of the same account can read.

import type { Exposition, ProcessMetrics } from '../metrics/metrics.ts';

export type ToWorker =
  | { readonly type: 'start'; readonly connectionString: string; readonly secretKey: string }
  | { readonly type: 'run background jobs' }
  /** all that the primary prepares is there: it may call itself ready */
  | { readonly type: 'complete start' }
  /** to be answered, which only an event loop that runs can do */
  | { readonly type: 'ping' }
  /** of this worker alone, to be answered with 'own metrics' */
  | { readonly type: 'own metrics?' }
  /** refuse new connections, and report it */
  | { readonly type: 'stop accepting' }
  /** answer the requests that have begun, and exit */
  | { readonly type: 'stop' }
  /** of all workers, the answer to 'metrics?' */
  | { readonly type: 'metrics'; readonly requestId: number; readonly sum: Exposition | undefined };

export interface Ports {
  readonly port: number;
  readonly tlsPort: number | undefined;
}

export type ToPrimary =
  | ({ readonly type: 'listening' } & Ports)
  /** it could not start, and exits with EXIT_CODE_OF_FAILED_START */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'stopped accepting' }
  | { readonly type: 'pong' }
  | { readonly type: 'own metrics'; readonly metrics: ProcessMetrics }
  | { readonly type: 'metrics?'; readonly requestId: number };

export const EXIT_CODE_OF_FAILED_START = 3;
