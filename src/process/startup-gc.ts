// A start leaves twice as much garbage as the server needs memory: modules that were read and compiled, tables that were built up.
// V8 keeps it until requests have made enough of their own, and an idle server would for ever. npm start passes --expose-gc for this
// one collection.

/** V8 also gives the pages back at once in this case; after another collection it keeps them for some seconds. */
const GIVES_PAGES_BACK = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;

/** Takes some 50 ms, in which nothing else runs: for a process that nobody has been told of yet. */
export function collectStartupGarbage(): void {
  globalThis.gc?.(GIVES_PAGES_BACK);
}
