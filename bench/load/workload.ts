// The requests of an operation, and the result of a run. Independent requests are sent by
// closed-load.ts (wrk or autocannon) and paced.ts, dependent ones by loops.ts.

/** Independent requests. */
export interface RequestWorkload {
  readonly kind: 'requests';
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** undefined: none */
  readonly body?: string | BodyQueue;
  /** texts in every expected response, which has a status below 300 */
  readonly wanted: readonly string[];
}

/** A queue; each request takes the first one. */
export interface BodyQueue {
  readonly queue: readonly string[];
  /** number of prepared requests; undefined: a request may be repeated until the time is over */
  readonly budget?: number;
  /** Every response appends one: `before`, and the value of a member of the response. */
  readonly next?: { readonly before: string; readonly member: string };
}

export function isExpected({ wanted }: RequestWorkload, body: string): boolean {
  return wanted.every((text) => body.includes(text));
}

/** Several sequential requests; one pass counts as one. */
export interface LoopWorkload {
  readonly kind: 'loop';
  /** @throws Error for an unexpected response */
  readonly pass: (loopIndex: number) => Promise<void>;
  /** Called when the round is over. */
  readonly end: () => void;
}

export type Workload = RequestWorkload | LoopWorkload;

export interface LoadOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly latenciesMs: readonly number[];
  /** the errors, each kind once */
  readonly faults: readonly string[];
}

/** @param sorted ascending */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)] as number;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}
