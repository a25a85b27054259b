// The secret key of an installation without LANYARD_SECRET_KEY: made once, kept in a file that only
// its owner can read.

import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** @returns the key in `<dataDir>/secret-key`, which is made (mode 0600) if it is missing */
export async function loadSecretKey(dataDir: string): Promise<string> {
  const path = join(dataDir, 'secret-key');
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  return (await read(path)) ?? (await make(path));
}

async function read(path: string): Promise<string | undefined> {
  try {
    const key = (await readFile(path, 'utf8')).trim();
    if (key.length < 32) throw new Error(`${path} does not hold a secret key (32 characters or more)`);
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Gets its name when it is complete: a crash leaves no partial key, and of two starts one wins. */
async function make(path: string): Promise<string> {
  const temporary = `${path}.${process.pid}`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(`${randomBytes(48).toString('base64url')}\n`);
    await file.sync();
    await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await file.close();
    await rm(temporary, { force: true });
  }
  const key = await read(path);
  if (key === undefined) throw new Error(`${path} was removed while it was made`);
  return key;
}
