// For tests that only root can run: they start a program as another user, and read in /proc, which
// only Linux has, who runs it.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

/** Root of a container may often not mount. */
export const canMount = isRoot && triesToMount(['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs']);
/** A file system in a file, which `fsfreeze` can stop. */
export const canMountImages = canMount && triesToMountImage();

function triesToMountImage(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'lanyard-image-'));
  const image = join(folder, 'image');
  writeFileSync(image, Buffer.alloc(8_388_608));
  const isMade = spawnSync('mkfs.ext4', ['-q', '-F', image]).status === 0;
  const canFreeze = spawnSync('fsfreeze', ['--version']).status === 0;
  const isMounted = isMade && canFreeze && triesToMount(['-o', 'loop', image]);
  rmSync(folder, { recursive: true });
  return isMounted;
}

function triesToMount(options: readonly string[]): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'lanyard-mount-'));
  const isMounted = spawnSync('mount', [...options, folder]).status === 0;
  if (isMounted) spawnSync('umount', [folder]);
  rmdirSync(folder);
  return isMounted;
}

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * For a user who may not enter the folder of this checkout. As after `npm ci --omit=dev`, which is
 * less to copy; by hard links where the file system allows them.
 */
export async function copyCheckout(parent: string): Promise<{ home: string; main: string }> {
  const home = join(parent, 'lanyard');
  await mkdir(home, { mode: 0o755 });
  const names = ['src', 'migrations', 'package.json', ...(await packageFolders())];
  const copy = (flags: string) => spawnSync('cp', [flags, '--parents', ...names, home], { cwd: CHECKOUT }).status;
  if (copy('-al') !== 0 && copy('-a') !== 0) throw new Error(`the checkout could not be copied to ${home}`);
  return { home, main: join(home, 'src', 'start.mjs') };
}

async function packageFolders(): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(CHECKOUT, 'package-lock.json'), 'utf8'));
  const packages: [string, { dev?: boolean }][] = Object.entries(lock.packages);
  return packages
    .filter(([path, { dev }]) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && dev !== true)
    .map(([path]) => path)
    .filter((path) => existsSync(join(CHECKOUT, path))); // not those of other platforms
}
