// Clean-up steps: run once, in reverse order, each of them even if another one fails. A program runs them however it ends.

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

/** Runs the program of a script. Its exit code is 1 after an error, and after a signal. */
export function runProgram(main: () => Promise<void>, cleanups: Cleanups): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      say('Stopping.');
      void cleanups.run().finally(() => process.exit(1));
    });
  }
  main()
    .catch((error: Error) => {
      say(String(error.stack));
      process.exitCode = 1;
    })
    .finally(cleanups.run);
}

/** Progress, on stderr: the report of a script is what it writes to stdout. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
