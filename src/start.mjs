// What `npm start` runs: the program of main.ts, with a memory for compiled modules, which halves the time of every start but the
// first. The memory stands in our own node_modules, where nobody else can write: what it holds is run. This file alone is not
// TypeScript: to take the types out of it Node would load its compiler, 15 MB, before that memory could spare it.
//
// package.json adds options for V8, which workers inherit: the young generation grows faster and is collected by one thread, since
// most of what a request makes is garbage when it ends, and several threads spend more on agreeing than on that (bench/README.md);
// and a way to ask for a collection (start-garbage.ts).

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Where that folder cannot be written, Node goes on without.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/lanyard/', import.meta.url)));

await import('./main.ts');
