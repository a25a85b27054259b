// What `npm start` runs: the program of main.ts, with a memory for compiled modules, which halves the time of every start but the
// first. The memory stands in our own node_modules, where nobody else can write: what it holds is run.

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Where that folder cannot be written, Node goes on without.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/lanyard/', import.meta.url)));

await import('./main.ts');
