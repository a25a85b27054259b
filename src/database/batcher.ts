// Gathers what many requests want at the same moment into one statement: what waits while a statement runs goes out with the
// next one. No timers: a lone request is not slower, a crowd shares the cost of a round trip, a plan and a commit.
//
// Each caller hears of its own item, after the statement has committed. An item that makes its statement fail fails alone: the
// others are repeated without it. When the connection is lost all of them fail, because nobody knows how far it came; the next
// statement takes another connection. What waits is bounded: beyond that callers are refused at once.

import { AppError } from '../errors.ts';

export interface BatcherOptions<Item, Result> {
  /** One statement for all items. Its results are in the order of the items. */
  run(items: readonly Item[]): Promise<readonly Result[]>;
  /** statements at the same time; two keep a connection busy while the other answer is read */
  readonly maxRunning?: number;
  /**
   * With one statement at a time: of a crowd that arrives while none runs, half goes out first. From then on the callers of one
   * half are answered while the statement of the other runs, instead of everybody waiting for the database and then it for them.
   */
  readonly isAlternating?: boolean;
  /** items in one statement: enough to share the cost, few enough that nobody waits long for the others */
  readonly maxBatch?: number;
  /** items that wait for a statement to end; beyond it callers get `overloaded` */
  readonly maxWaiting: number;
  /** hears the size of every statement */
  onBatch?(size: number): void;
}

export interface Batcher<Item, Result> {
  /** @throws AppError `overloaded` when too many wait already */
  (item: Item): Promise<Result>;
  /** how many wait now */
  waiting(): number;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

const DEFAULTS = { maxRunning: 2, maxBatch: 128, isAlternating: false };
/** callers that are fewer share one statement */
const CROWD = 4;

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxRunning, maxBatch, maxWaiting, isAlternating } = { ...DEFAULTS, ...options };
  const waiting: Waiting<Item, Result>[] = [];
  let running = 0;
  let isScheduled = false;

  /** At the end of this turn of the event loop, so that requests which arrived together go out together. */
  function schedule(): void {
    if (isScheduled || running >= maxRunning || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      const share = isAlternating && waiting.length >= CROWD ? Math.ceil(waiting.length / 2) : waiting.length;
      sendNext(share);
    });
  }

  function sendNext(share: number): void {
    while (running < maxRunning && waiting.length > 0) void send(waiting.splice(0, Math.min(share, maxBatch)));
  }

  async function send(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    running++;
    const answer = await settle(batch);
    running--;
    // Before the callers go on, so that the database works while they do.
    sendNext(maxBatch);
    answer();
  }

  /** @returns what answers the callers */
  async function settle(batch: readonly Waiting<Item, Result>[]): Promise<() => void> {
    try {
      options.onBatch?.(batch.length);
      const results = await options.run(batch.map(({ item }) => item));
      return () => {
        batch.forEach(({ resolve }, position) => {
          resolve(results[position] as Result);
        });
      };
    } catch (error) {
      if (batch.length === 1 || !isFaultOfOneItem(error)) {
        return () => {
          for (const { reject } of batch) reject(error);
        };
      }
      for (const single of batch) (await settle([single]))();
      return () => {};
    }
  }

  function gather(item: Item): Promise<Result> {
    if (waiting.length >= maxWaiting) {
      return Promise.reject(
        new AppError('overloaded', 'too many requests wait for the database', { retryAfterSeconds: 1 }),
      );
    }
    return new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      schedule();
    });
  }
  return Object.assign(gather, { waiting: () => waiting.length });
}

/**
 * SQLSTATE classes of statements that were rolled back because of what was in them: cardinality, data exceptions, constraints,
 * deadlocks. (PostgreSQL, appendix A)
 */
function isFaultOfOneItem(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(21|22|23|40)[0-9A-Z]{3}$/.test(code);
}
