// Types for the part of autocannon that the bench uses; the package has none.

declare module 'autocannon' {
  import type { EventEmitter } from 'node:events';

  export interface Request {
    method?: string;
    path?: string;
    headers?: Record<string, string>;
    body?: string;
    setupRequest?: (request: Request) => Request;
    onResponse?: (status: number, body: string) => void;
  }

  export interface Options {
    url: string;
    connections: number;
    duration?: number;
    amount?: number;
    bailout?: number;
    sampleInt?: number;
    timeout?: number;
    requests: readonly Request[];
    verifyBody?: (body: string) => boolean;
  }

  export interface Result {
    readonly non2xx: number;
    readonly errors: number;
    readonly timeouts: number;
    readonly mismatches: number;
    readonly resets: number;
  }

  /** `response` is emitted with client, status, bytes and milliseconds */
  export interface Run extends EventEmitter, PromiseLike<Result> {
    stop(): void;
  }

  export default function autocannon(options: Options): Run;
}
