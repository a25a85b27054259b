// Tests that need what a machine may not have. Each that is skipped has the reason in its name, and the run prints it.

import { describe, test } from '@jest/globals';

/** @param reason what is missing, and why nothing else can take its place */
export function testWhere(isPossible: boolean, reason: string) {
  if (!isPossible) console.warn(`tests are skipped: ${reason}`);
  return (name: string, work: () => Promise<void>): void =>
    isPossible ? test(name, work) : test.skip(`${name} (skipped: ${reason})`, work);
}

/** The same for a group of tests. */
export function describeWhere(isPossible: boolean, reason: string) {
  if (!isPossible) console.warn(`tests are skipped: ${reason}`);
  return (name: string, work: () => void): void =>
    isPossible ? describe(name, work) : describe.skip(`${name} (skipped: ${reason})`, work);
}
