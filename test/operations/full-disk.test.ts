// The disk of the database is full: nothing is lost, everybody is told, and it goes on when there is
// room again. A disk of 160 MB is mounted for that.

import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { introspect, requestToken, toAnswer } from '../support/admin.ts';
import { canMount } from '../support/as-root.ts';
import { until } from '../support/patience.ts';
import { makeHome, removeHome, start, stop, stopAll } from '../support/process.ts';
import { ADMIN_SECRET } from '../support/server.ts';
import { testWhere } from '../support/where.ts';

const ADMIN = { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET };
const testWithDisk = testWhere(canMount, 'without the right to mount there is no disk that may be filled');

let home: string;
let disk: string;

beforeEach(async () => {
  home = await makeHome();
  disk = join(home, 'disk');
  await mkdir(disk);
  // The embedded PostgreSQL of root runs as another user.
  chmodSync(home, 0o711);
});
afterEach(async () => {
  await stopAll();
  spawnSync('umount', [disk]);
  await removeHome(home);
});

testWithDisk('what was answered before is there, every request is 503, and it goes on when there is room', async () => {
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=755', 'tmpfs', disk]).status).toBe(0);
  const env = { LANYARD_DATA_DIR: join(disk, 'data'), LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET };
  const lanyard = await start({ home, env });
  const ready = async () => toAnswer(await fetch(`${lanyard.issuer}/health/ready`));
  const getToken = () => requestToken(lanyard.issuer, ADMIN);
  const before = await getToken();
  expect(before.status).toBe(200);

  const filler = join(disk, 'filler');
  spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k']);
  // What PostgreSQL has reserved takes some more rows.
  await until(async () => (await getToken()).status === 503, 'the first refusal');
  const answers = await Promise.all(Array.from({ length: 50 }, getToken));
  expect([...new Set(answers.map(({ status }) => status))]).toEqual([503]);
  await until(async () => (await ready()).status === 503, 'not ready');
  expect((await ready()).body).toMatchObject({ reason: 'the database does not take writes' });

  rmSync(filler);
  await until(async () => (await getToken()).status === 200, 'tokens again');
  await until(async () => (await ready()).status === 200, 'readiness');
  const { body } = await introspect(lanyard.issuer, ADMIN, String(before.body.access_token));
  expect(body.active).toBe(true);
  expect(await stop(lanyard)).toBe(0);
});
