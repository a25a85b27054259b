// What the primary and its workers tell each other. Secrets go through the pipe between the two, not through the environment or
// the command line, which other processes of the same account can read.

export type ToWorker =
  | {
      readonly type: 'start';
      readonly connectionString: string;
      readonly secretKey: string;
      /** whether this worker removes what has expired */
      readonly prunes: boolean;
    }
  | { readonly type: 'prune' }
  /** let nobody new in, and say so */
  | { readonly type: 'stop accepting' }
  /** answer those who are in, send them away, and end */
  | { readonly type: 'stop' }
  | { readonly type: 'metrics'; readonly requestId: number; readonly body: string | undefined };

export interface Ports {
  readonly port: number;
  readonly tlsPort: number | undefined;
}

export type ToPrimary =
  | ({ readonly type: 'listening' } & Ports)
  /** it could not start, and another try would not help */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'stopped accepting' }
  | { readonly type: 'metrics?'; readonly requestId: number };

/** Exit code of a worker that has said why it failed. */
export const FAILED = 3;
