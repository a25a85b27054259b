// What one operation asks of a server, and what a run of it has shown. Independent requests are run by closed-load.ts (wrk or
// autocannon) and paced.ts, several that depend on each other by loops.ts.

/** Requests that do not wait for each other. */
export interface RequestWorkload {
  readonly kind: 'requests';
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** undefined: none */
  readonly body?: string | BodyQueue;
  /** texts that every right answer contains; its status is below 300 */
  readonly wanted: readonly string[];
}

/** Each request takes the first of these. */
export interface BodyQueue {
  readonly queue: readonly string[];
  /** how many requests there is material for; undefined: each may be sent again and again, until the time is over */
  readonly budget?: number;
  /** Every answer puts one more at the end: `before`, and the value of a member of the answer. */
  readonly next?: { readonly before: string; readonly member: string };
}

export function isRight({ wanted }: RequestWorkload, body: string): boolean {
  return wanted.every((text) => body.includes(text));
}

/** Several requests in a row; one pass of them counts as one. */
export interface LoopWorkload {
  readonly kind: 'loop';
  /** @throws Error when an answer is not right */
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
  /** what went wrong, each sort once; [] if nothing did */
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
