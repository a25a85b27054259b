// What `npm start` runs: the program of main.ts, with a cache of compiled modules. The cache is in our own node_modules, where no other
// user can write, since its content is executed. `npm ci` fills it (--compile), so that even the first start compiles nothing.
// This file alone is not TypeScript: to strip types, Node would load its compiler, 25 MB, before the cache is enabled.
//
// The script in package.json replaces its shell (exec): npm passes SIGTERM to that process alone. Its options for V8, which workers
// inherit, let the young generation grow faster, up to 32 MB, and collect it on one thread, since most of what a request allocates is
// garbage when it ends, and several threads cost more in coordination than they save (bench/README.md). --expose-gc is for
// process/startup-gc.ts.

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Where that folder cannot be written, Node goes on without the cache.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/lanyard/', import.meta.url)));

const { load, main } = await import('./main.ts');
await (process.argv[2] === '--compile' ? load() : main());
