// What `npm start` runs: the program of main.ts, with a memory for compiled modules. It stands in our own node_modules, where nobody
// else can write: what it holds is run. `npm ci` fills it (--compile), so that not even the first start has to compile anything.
// This file alone is not TypeScript: to take the types out of it Node would load its compiler, 25 MB, before that memory could spare it.
//
// package.json adds options for V8, which workers inherit: the young generation grows faster, up to 32 MB, and is collected by one
// thread, since most of what a request makes is garbage when it ends, and several threads spend more on agreeing than on that
// (bench/README.md); and a way to ask for a collection (start-garbage.ts).

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Where that folder cannot be written, Node goes on without.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/lanyard/', import.meta.url)));

const { load, main } = await import('./main.ts');
await (process.argv[2] === '--compile' ? load() : main());
