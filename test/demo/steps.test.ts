// The demo says "ok" only about what was exactly as expected; this is what its exit code rests on.

import { expect, test } from '@jest/globals';
import { createTranscript, UnexpectedOutcome } from '../../src/demo/steps.ts';

function recorded() {
  const lines: string[] = [];
  return { lines, transcript: createTranscript((line) => lines.push(line)) };
}

const observing =
  <T>(observed: string, value: T) =>
  async () => ({ observed, value });

test('a step that observes what it expects says so and returns its value', async () => {
  const { lines, transcript } = recorded();
  await expect(transcript.step('call', '200', observing('200', 'the answer'))).resolves.toBe('the answer');
  expect(lines.join('\n')).toMatch(/ok +call +200/);
  expect(transcript.passedSteps).toBe(1);
});

test.each([
  ['another status', '200'],
  ['the right status with another error', '403 insufficient_scope'],
  ['the status without the error', '403'],
  ['nothing', ''],
])('a step that observes %s fails and is not counted', async (_, observed) => {
  const { lines, transcript } = recorded();
  const step = transcript.step('call', '403 client_not_allowed', observing(observed, undefined));
  await expect(step).rejects.toThrow(UnexpectedOutcome);
  expect(lines.join('\n')).toContain(`FAIL call`);
  expect(lines.join('\n')).toContain(`expected 403 client_not_allowed, observed ${observed}`);
  expect(transcript.passedSteps).toBe(0);
});

test('a step that throws fails with the reason', async () => {
  const { lines, transcript } = recorded();
  const step = transcript.step('call', '200', () => Promise.reject(new Error('connect ECONNREFUSED')));
  await expect(step).rejects.toThrow(UnexpectedOutcome);
  expect(lines.join('\n')).toContain('connect ECONNREFUSED');
});
