// The messages between the primary and its workers. Secrets go through the pipe between the two, not through the environment or
// the command line, which other processes of the same account can read.

import type { Account } from '../account/account.ts';
import type { Config } from '../config/config.ts';
import type { Exposition, ProcessMetrics } from '../metrics/metrics.ts';
import type { TlsTexts } from '../server/tls-listener.ts';

/**
 * All that the primary has read, from the environment and from files: a worker may have another account, which cannot read them, and
 * all workers are alike, whatever has changed since.
 */
export interface WorkerStart {
  readonly type: 'start';
  readonly config: Config;
  readonly connectionString: string;
  readonly secretKey: string;
  readonly tlsTexts: TlsTexts | undefined;
  /** that it becomes first, if it was started as root; a later one is started as that account */
  readonly account: Account | undefined;
}

export type ToWorker =
  | WorkerStart
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
  | { readonly type: 'failed'; readonly message: string; readonly code: string | undefined }
  | { readonly type: 'stopped accepting' }
  | { readonly type: 'pong' }
  | { readonly type: 'own metrics'; readonly metrics: ProcessMetrics }
  | { readonly type: 'metrics?'; readonly requestId: number };

export const EXIT_CODE_OF_FAILED_START = 3;
