// Tests in which root starts something as another user: nobody else can, and only Linux has /proc to see it by.

import { test } from '@jest/globals';

export const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

export const testAsRoot = isRoot ? test : test.skip; // reason: only root can start a process as another user
