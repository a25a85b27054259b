// Puts what many requests want at the same moment into one statement: items that wait while a
// statement runs go out with the next one. There are no timers: a single request is not slower, and
// many share the cost of a round trip, a plan and a commit.
//
// Each caller gets the answer for its own item after the statement has committed. What can be wrong
// with an item is checked before it gets here (array-parameters). What PostgreSQL still refuses
// (sql-state) is found by bisection and fails alone. Any other error fails the whole batch and
// nothing of it is sent again: it may have been stored, or would only fail once more. Items that
// have waited for long by then fail too: each further batch would make them wait as long again.

import { AppError } from '../errors.ts';
import { isContentError } from './sql-state.ts';

export interface BatcherOptions<Item, Result> {
  /** One statement, or one transaction, for all items. Results are in the order of the items. */
  run(items: readonly Item[]): Promise<readonly Result[]>;
  /** statements at the same time; two keep a connection busy while the other answer is read */
  readonly maxRunning?: number;
  /**
   * With one statement at a time: of items that arrive together while none runs, half go out first.
   * From then on the callers of one half are answered while the statement of the other half runs,
   * so that database and callers work at the same time.
   */
  readonly isAlternating?: boolean;
  /** items in one statement: enough to share its cost, few enough that it does not take long */
  readonly maxBatch?: number;
  /** items that wait for a statement to end; beyond it callers get `overloaded` */
  readonly maxWaiting: number;
  /** called with the size of every statement */
  onBatch?(size: number): void;
}

export interface Batcher<Item, Result> {
  /** @throws AppError `overloaded` when too many wait already */
  (item: Item): Promise<Result>;
  /** how many wait now */
  waiting(): number;
}

interface Entry<Item, Result> {
  readonly item: Item;
  /** by performance.now() */
  readonly addedAt: number;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

const DEFAULTS = { maxRunning: 2, maxBatch: 128, isAlternating: false };
/** after a failure, items that have waited longer are not sent any more */
const MOST_WAITED_MS = 3_000;
/** fewer items than this share one statement */
const MIN_ALTERNATING = 4;

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxRunning, maxBatch, maxWaiting, isAlternating } = { ...DEFAULTS, ...options };
  const waiting: Entry<Item, Result>[] = [];
  let running = 0;
  let isScheduled = false;

  /** At the end of this turn of the event loop: requests that arrived together go out together. */
  function schedule(): void {
    if (isScheduled || running >= maxRunning || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      sendNext(isAlternating && waiting.length >= MIN_ALTERNATING ? Math.ceil(waiting.length / 2) : waiting.length);
    });
  }

  function sendNext(share: number): void {
    while (running < maxRunning && waiting.length > 0) void send(waiting.splice(0, Math.min(share, maxBatch)));
  }

  async function send(batch: readonly Entry<Item, Result>[]): Promise<void> {
    running++;
    const { answer, hasFailed } = await settle(batch, options);
    running--;
    if (hasFailed) rejectOld();
    // Before the callers go on, so that the database works while they do.
    sendNext(maxBatch);
    answer();
  }

  function rejectOld(): void {
    const now = performance.now();
    const young = waiting.findIndex(({ addedAt }) => now - addedAt < MOST_WAITED_MS);
    rejectAll(waiting.splice(0, young === -1 ? waiting.length : young), tooManyWait());
  }

  function add(item: Item): Promise<Result> {
    if (waiting.length >= maxWaiting) {
      return Promise.reject(tooManyWait());
    }
    return new Promise((resolve, reject) => {
      waiting.push({ item, addedAt: performance.now(), resolve, reject });
      schedule();
    });
  }
  return Object.assign(add, { waiting: () => waiting.length });
}

function tooManyWait(): AppError {
  return new AppError('overloaded', 'too many requests wait for the database', { retryAfterSeconds: 1 });
}

type Running<Item, Result> = Pick<BatcherOptions<Item, Result>, 'run' | 'onBatch'>;
type Batch<Item, Result> = readonly Entry<Item, Result>[];

interface Settled {
  /** answers the callers */
  answer(): void;
  /** whether the database could not do it, whatever is in it */
  readonly hasFailed: boolean;
}

async function settle<Item, Result>(batch: Batch<Item, Result>, options: Running<Item, Result>): Promise<Settled> {
  try {
    return { answer: await attempt(batch, options), hasFailed: false };
  } catch (error) {
    const isContent = isContentError(error);
    if (batch.length === 1 || !isContent) return { answer: () => rejectAll(batch, error), hasFailed: !isContent };
    await bisect(batch, options);
    return { answer() {}, hasFailed: false };
  }
}

/** Runs one statement. @returns what answers its callers */
async function attempt<Item, Result>(
  batch: Batch<Item, Result>,
  { run, onBatch }: Running<Item, Result>,
): Promise<() => void> {
  onBatch?.(batch.length);
  const results = await run(batch.map(({ item }) => item));
  return () => {
    batch.forEach(({ resolve }, position) => {
      resolve(results[position] as Result);
    });
  };
}

/**
 * Of a batch that was rolled back because of what is in it. Halves run in order, so that of two
 * items that exclude each other the first one is stored. Callers are answered as soon as their part
 * has ended.
 */
async function bisect<Item, Result>(batch: Batch<Item, Result>, options: Running<Item, Result>): Promise<void> {
  const parts = halves(batch);
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    try {
      (await attempt(part, options))();
    } catch (error) {
      if (!isContentError(error)) return rejectAll([part, ...parts].flat(), error);
      if (part.length === 1) rejectAll(part, error);
      else parts.unshift(...halves(part));
    }
  }
}

function halves<Item, Result>(batch: Batch<Item, Result>): Batch<Item, Result>[] {
  const middle = Math.ceil(batch.length / 2);
  return [batch.slice(0, middle), batch.slice(middle)];
}

function rejectAll<Item, Result>(batch: Batch<Item, Result>, error: unknown): void {
  for (const { reject } of batch) reject(error);
}
