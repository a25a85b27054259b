// A start leaves twice as much garbage as the server needs memory: modules that were read and compiled, tables that were built up. V8
// keeps it until requests have allocated enough, and in an idle server for ever. npm start passes --expose-gc for this one collection.

/** The last resort of V8 returns the pages to the system at once; another collection keeps them for some seconds. */
const OPTIONS = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;

/** Blocks the process for some 50 ms: to be called before the operator, or the primary, learns that it is ready. */
export function collectStartupGarbage(): void {
  globalThis.gc?.(OPTIONS);
}
