// Counts, from the closing lines of each run of Jest in .ci/run's output, what passed and failed. Ends with 1 if anything failed
// or nothing ran. A test file that could not even be loaded has no tests to count: it counts as one that failed.

import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

const output = stripVTControlCharacters(readFileSync(process.argv[2], 'utf8'));

function sum(heading, outcome) {
  const lines = output.match(new RegExp(`^${heading}: .*$`, 'gm')) ?? [];
  return lines.reduce((total, line) => total + Number(new RegExp(`(\\d+) ${outcome}`).exec(line)?.[1] ?? 0), 0);
}

const passed = sum('Tests', 'passed');
const failed = sum('Tests', 'failed') || sum('Test Suites', 'failed');
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = passed === 0 || failed > 0 ? 1 : 0;
