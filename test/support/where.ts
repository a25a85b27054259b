// Tests that need what a machine may not have. They are skipped only with a reason, which the run prints.

import { describe, test } from '@jest/globals';

/** @param reason what is missing, and why nothing else can take its place */
export function testWhere(isPossible: boolean, reason: string) {
  if (isPossible) return test;
  console.warn(`tests are skipped: ${reason}`);
  return test.skip; // the reason is above
}

/** The same for a group of tests. */
export function describeWhere(isPossible: boolean, reason: string) {
  if (isPossible) return describe;
  console.warn(`tests are skipped: ${reason}`);
  return describe.skip; // the reason is above
}
