// Clean-up steps: run once, in reverse order, each of them even if another one fails.

export interface Cleanups {
  add(step: () => Promise<unknown>): void;
  /** May be called more than once; all calls wait for the same run. */
  run(): Promise<void>;
}

export function createCleanups(): Cleanups {
  const steps: (() => Promise<unknown>)[] = [];
  let running: Promise<void> | undefined;
  async function runAll(): Promise<void> {
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      await step().catch((error: Error) => process.stderr.write(`while cleaning up: ${error.message}\n`));
    }
  }
  return {
    add: (step) => void steps.push(step),
    run: () => (running ??= runAll()),
  };
}
