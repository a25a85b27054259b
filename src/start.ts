// What `npm start` runs: the program of main.ts, with a memory for compiled modules, which halves the time of every start but the
// first. The memory stands in our own node_modules, where nobody else can write: what it holds is run.
//
// package.json adds two options for V8, which workers inherit: the young generation grows faster and is collected by one thread. Most
// of what a request makes is garbage when it ends, and several threads spend more on agreeing than on that (bench/README.md).

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Where that folder cannot be written, Node goes on without.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/lanyard/', import.meta.url)));

await import('./main.ts');
