// What the password hash takes of a login: the bare engine has none, so its share must be known to compare the rest.

import { createPasswordHasher } from '../../src/password-hash.ts';
import { PASSWORD } from '../fixtures.ts';

const RUNS = 10;

/** @returns CPU milliseconds of one check of a password */
export async function measurePasswordHash(): Promise<number> {
  const passwords = createPasswordHasher({ concurrency: 1 });
  const hash = await passwords.hash(PASSWORD);
  const before = process.cpuUsage();
  for (let run = 0; run < RUNS; run++) await passwords.verify(hash, PASSWORD);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / RUNS / 1000;
}
