// The user that starts it, and the place: an ordinary user, and root from a checkout under a folder that only root can enter, such as a
// home directory of mode 700.

import { chmod, chown, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import { copyCheckout, isRoot } from '../support/as-root.ts';
import { type LanyardProcess, makeHome, postmasterOf, removeHome, start, stop, stopAll } from '../support/process.ts';

/** Debian's `nobody` */
const NOBODY = { uid: 65_534, gid: 65_534 };

afterEach(stopAll);

async function expectWorking(lanyard: LanyardProcess): Promise<void> {
  const client = { clientId: 'lanyard-admin', clientSecret: lanyard.adminSecret as string };
  expect((await requestToken(lanyard.issuer, client)).status).toBe(200);
}

async function expectClosed(home: string, uid: number | undefined): Promise<void> {
  for (const [path, mode] of [
    ['data', 0o700],
    ['data/secret-key', 0o600],
    ['data/postgres', 0o700],
    ['data/postgres/postgres-password', 0o600],
    ['data/postgres/cluster', 0o700],
  ] as const) {
    const found = await stat(join(home, path));
    expect({ path, uid: found.uid, mode: found.mode & 0o777 }).toEqual({ path, uid, mode });
  }
}

// Only root can start it as another user; any other user is the ordinary user.
if (isRoot) {
  test('started by an ordinary user, everything belongs to that user and is closed to others', async () => {
    // This user may not be allowed to enter the folder of the checkout; the temporary folder is open.
    const open = await mkdtemp(join(tmpdir(), 'lanyard-open-'));
    await chmod(open, 0o755);
    const { main } = await copyCheckout(open);
    const home = await makeHome();
    await chown(home, NOBODY.uid, NOBODY.gid);

    const lanyard = await start({ home, user: NOBODY, main });
    await expectWorking(lanyard);
    const postmaster = await postmasterOf(home);
    expect((await stat(`/proc/${postmaster?.pid}`)).uid).toBe(NOBODY.uid);
    await expectClosed(home, NOBODY.uid);
    expect(await stop(lanyard)).toBe(0);
    await removeHome(home);
    await rm(open, { recursive: true, force: true });
  });

  test('started by root from a checkout that only root can enter, data and programs of PostgreSQL included', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'lanyard-root-'));
    await chmod(closed, 0o700);
    const { home, main } = await copyCheckout(closed);
    const lanyard = await start({ home, main });
    await expectWorking(lanyard);
    const postmaster = await postmasterOf(home);
    expect((await stat(`/proc/${postmaster?.pid}`)).uid).not.toBe(0);
    expect(await stop(lanyard)).toBe(0);
    const again = await start({ home, main });
    expect(again.adminSecret).toBeUndefined();
    expect(await stop(again)).toBe(0);
    await rm(closed, { recursive: true, force: true });
  });
} else {
  test('started by an ordinary user, everything belongs to that user and is closed to others', async () => {
    const home = await makeHome();
    const lanyard = await start({ home });
    await expectWorking(lanyard);
    await expectClosed(home, process.getuid?.());
    expect(await stop(lanyard)).toBe(0);
    await removeHome(home);
  });
}
