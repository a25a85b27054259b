// For tests that only root can run: they start a program as another user, and read in /proc, which
// only Linux has, who runs it.

import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * For a user who may not enter the folder of this checkout. Hard links where the file system allows
 * them: node_modules is large.
 */
export async function copyCheckout(parent: string): Promise<{ home: string; main: string }> {
  const home = join(parent, 'lanyard');
  await mkdir(home, { mode: 0o755 });
  for (const name of ['src', 'migrations', 'package.json', 'node_modules']) {
    const copy = (flags: string) => spawnSync('cp', [flags, join(CHECKOUT, name), home]).status;
    if (copy('-al') !== 0 && copy('-a') !== 0) throw new Error(`${name} could not be copied to ${home}`);
  }
  return { home, main: join(home, 'src', 'start.mjs') };
}
