// Which workers count as hanging: those that leave questions unanswered, whatever the clock says meanwhile.

import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { createWatchdog, type Watchdog } from '../../src/process/watchdog.ts';

const SECOND_MS = 1_000;

let asked: string[];
let hanging: string[];
let watchdog: Watchdog<string>;
beforeEach(() => {
  jest.useFakeTimers();
  asked = [];
  hanging = [];
  watchdog = createWatchdog<string>(
    (worker) => void asked.push(worker),
    (worker) => void hanging.push(worker),
  );
});
afterEach(() => {
  watchdog.stop();
  jest.useRealTimers();
});

test('a worker that does not answer for ten questions hangs, and is reported once', () => {
  for (const worker of ['silent', 'fine']) {
    watchdog.watch(worker);
    watchdog.hasStarted(worker);
  }
  for (let n = 0; n < 10; n++) {
    jest.advanceTimersByTime(SECOND_MS);
    watchdog.answered('fine');
  }
  expect(hanging).toEqual([]);
  jest.advanceTimersByTime(SECOND_MS);
  expect(hanging).toEqual(['silent']);
  watchdog.answered('fine');
  jest.advanceTimersByTime(5 * SECOND_MS);
  expect(hanging).toEqual(['silent']);
});

test('one that starts has a minute', () => {
  watchdog.watch('starting');
  jest.advanceTimersByTime(60 * SECOND_MS);
  expect(hanging).toEqual([]);
  jest.advanceTimersByTime(SECOND_MS);
  expect(hanging).toEqual(['starting']);
});

test('an hour in which nobody was asked is no silence', () => {
  watchdog.watch('fine');
  watchdog.hasStarted('fine');
  jest.advanceTimersByTime(SECOND_MS);
  jest.setSystemTime(Date.now() + 3_600 * SECOND_MS);
  jest.advanceTimersByTime(9 * SECOND_MS);
  expect([asked.length, hanging]).toEqual([10, []]);
});

test('one that has exited is not asked', () => {
  watchdog.watch('gone');
  watchdog.forget('gone');
  jest.advanceTimersByTime(100 * SECOND_MS);
  expect([asked, hanging]).toEqual([[], []]);
});
