// Moves the clock of this process, in which the servers and clients of most tests run: Date.now()
// alone. `new Date()`, timers and PostgreSQL keep the real time.

import { jest } from '@jest/globals';

const realNow = Date.now.bind(Date);

/** From now on the clock is so many seconds ahead of the real time. */
export function moveClock(seconds: number): void {
  jest.spyOn(Date, 'now').mockImplementation(() => realNow() + seconds * 1000);
}

/** From now on the clock shows this moment. */
export function stopClock(epochSeconds: number): void {
  jest.spyOn(Date, 'now').mockImplementation(() => epochSeconds * 1000);
}

/** For afterEach: back to the real time. */
export function resetClock(): void {
  jest.spyOn(Date, 'now').mockRestore();
}
