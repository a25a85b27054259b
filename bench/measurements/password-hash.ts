// The share of the password hash in a login. The bare engine has none, so it is subtracted.

import { createPasswordHasher } from '../../src/password-hash.ts';
import { PASSWORD } from '../fixtures.ts';

const RUNS = 10;

/** @returns CPU milliseconds of one password check */
export async function measurePasswordHash(): Promise<number> {
  const passwords = createPasswordHasher({ concurrency: 1 });
  const hash = await passwords.hash(PASSWORD);
  const before = process.cpuUsage();
  for (let run = 0; run < RUNS; run++) await passwords.verify(hash, PASSWORD);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / RUNS / 1000;
}
