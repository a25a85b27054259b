// The user that starts it, and the place: an ordinary user, root, who gives root up, and root from a checkout under a folder that only root
// can enter, such as a home directory of mode 700.

import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import { canMount, copyCheckout, isRoot } from '../support/as-root.ts';
import { makeCertificate } from '../support/certificates.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { parseExposition } from '../support/exposition.ts';
import { until } from '../support/patience.ts';
import {
  isAlive,
  type LanyardProcess,
  launch,
  makeHome,
  postmasterOf,
  removeHome,
  serverProcessesBelow,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { startProxy } from '../support/proxy.ts';
import { freePort } from '../support/server.ts';
import { testWhere } from '../support/where.ts';

/** Debian's `nobody` */
const NOBODY = { uid: 65_534, gid: 65_534 };

afterEach(stopAll);

/** @returns a port below 1024, which only root can open; from those that `fetch` does not refuse (WHATWG Fetch, "bad port") */
async function freePrivilegedPort(): Promise<number> {
  for (let port = 640 + Math.floor(Math.random() * 300); port < 1_024; port++) {
    const probe = createServer();
    const isFree = await new Promise((resolve) => {
      probe.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (isFree) await new Promise((resolve) => probe.close(resolve));
    if (isFree) return port;
  }
  throw new Error('no port below 1024 is free');
}

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
  const certificate = makeCertificate({ subject: [['CN', 'localhost']], dns: ['localhost'] });
  /** Of a checkout that every user can read, whatever the folder of this one. */
  let open: string;
  let main: string;
  let home: string;

  beforeAll(async () => {
    open = await mkdtemp(join(tmpdir(), 'lanyard-open-'));
    await chmod(open, 0o755);
    ({ main } = await copyCheckout(open));
  });
  beforeEach(async () => {
    home = await makeHome();
  });
  afterEach(() => removeHome(home));
  afterAll(() => rm(open, { recursive: true, force: true }));

  test('started by an ordinary user, everything belongs to that user and is closed to others', async () => {
    await chown(home, NOBODY.uid, NOBODY.gid);
    const lanyard = await start({ home, user: NOBODY, main });
    await expectWorking(lanyard);
    const postmaster = await postmasterOf(home);
    expect((await stat(`/proc/${postmaster?.pid}`)).uid).toBe(NOBODY.uid);
    await expectClosed(home, NOBODY.uid);
    expect(await stop(lanyard)).toBe(0);
  });

  /** Files that only root can read, and a port that only root can open. */
  async function startWithRootsOwn(env: Record<string, string>): Promise<LanyardProcess> {
    for (const name of ['cert', 'key'] as const) {
      await writeFile(join(home, name), certificate[name], { mode: 0o600 });
    }
    const ports = {
      LANYARD_TLS_PORT: String(await freePort()),
      LANYARD_METRICS_PORT: String(await freePort()),
    };
    const tls = { LANYARD_TLS_CERT_FILE: join(home, 'cert'), LANYARD_TLS_KEY_FILE: join(home, 'key') };
    return start({ home, main, port: await freePrivilegedPort(), env: { ...ports, ...tls, ...env } });
  }

  test("started by root, one process gives root up for good once it listens; the secret key stays root's", async () => {
    const metricsPort = String(await freePort());
    const tlsPort = String(await freePort());
    const lanyard = await startWithRootsOwn({ LANYARD_METRICS_PORT: metricsPort, LANYARD_TLS_PORT: tlsPort });
    const own = (await stat(join(home, 'data', 'postgres', 'cluster'))).uid;
    expect(accountNamed('postgres')).not.toBe(own);
    await expectUnprivileged(lanyard.pid, own);
    await expectUnprivileged((await postmasterOf(home))?.pid as number, own);
    // Another process of that account finds neither the secrets of the server nor its open files.
    for (const path of ['environ', 'cwd', 'fd/0', 'mem']) {
      expect(spawnSync('cat', [`/proc/${lanyard.pid}/${path}`], { uid: own }).status).not.toBe(0);
    }
    await expectClosedOf(home, 'secret-key', own);
    await expectClosedOf(home, 'postgres/postgres-password', own);

    await expectWorking(lanyard);
    await expectHandshake(Number(tlsPort));
    const metrics = parseExposition(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text());
    expect(metrics.value('process_open_fds')).toBeGreaterThan(10);
    expect(metrics.value('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(lanyard.stdout).toContain('a renewed certificate of the TLS listener needs a restart');

    const again = await start({ home, main });
    process.kill(again.pid, 'SIGKILL');
    await again.exited;
    expect(await stop(await start({ home, main }))).toBe(0);
  });

  test('started by root with workers, all of them do, the replaced ones too; files of root are read once', async () => {
    const database = await createTestDatabase();
    const texts = {
      'database-url': database.connectionString,
      'secret-key': 'a secret key that is long enough for one',
    };
    for (const [name, text] of Object.entries(texts)) await writeFile(join(home, name), text, { mode: 0o600 });
    const tlsPort = String(await freePort());
    const lanyard = await startWithRootsOwn({
      LANYARD_TLS_PORT: tlsPort,
      DATABASE_URL_FILE: join(home, 'database-url'),
      LANYARD_SECRET_KEY_FILE: join(home, 'secret-key'),
      LANYARD_DATABASE_POOL_SIZE: '4',
      LANYARD_WORKERS: '2',
    });
    const own = accountNamed('lanyard');
    const first = await serverProcessesBelow(lanyard.pid);
    expect(first).toHaveLength(2);
    for (const pid of [lanyard.pid, ...first]) await expectUnprivileged(pid, own);

    process.kill(first[0] as number, 'SIGKILL');
    const listening = () => lanyard.stdout.split('"msg":"a worker has exited"').length;
    await until(() => listening() === 2, 'the end of a worker');
    await until(async () => (await serverProcessesBelow(lanyard.pid)).some((pid) => !first.includes(pid)), 'the next');
    for (const pid of await serverProcessesBelow(lanyard.pid)) await expectUnprivileged(pid, own);
    await expectWorking(lanyard);
    for (let n = 0; n < 4; n++) await expectHandshake(Number(tlsPort));

    // Without a worker nobody has the port any more, which takes root to open again: its supervisor starts it anew.
    process.kill(lanyard.pid, 'SIGSTOP');
    for (const pid of await serverProcessesBelow(lanyard.pid)) {
      process.kill(pid, 'SIGKILL');
      await until(async () => !(await isAlive(pid)), 'the end of the worker');
    }
    process.kill(lanyard.pid, 'SIGCONT');
    expect(await lanyard.exited).toEqual({ code: 1, signal: null });
    expect(lanyard.stderr).toMatch(/cannot listen on .*EACCES.*; stopping\./);
    await database.drop();
  });

  test('started by root from a checkout that only root can enter, it says why it stays root; the database never is', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'lanyard-root-'));
    await chmod(closed, 0o700);
    const checkout = await copyCheckout(closed);
    const lanyard = await start({ home: checkout.home, main: checkout.main });
    await expectWorking(lanyard);
    expect((await stat(`/proc/${lanyard.pid}`)).uid).toBe(0);
    expect(lanyard.stdout).toMatch(/the server keeps running as root/);
    expect(lanyard.stdout).toContain(`${checkout.home}/`);
    const postmaster = await postmasterOf(checkout.home);
    expect((await stat(`/proc/${postmaster?.pid}`)).uid).not.toBe(0);
    expect(await stop(lanyard)).toBe(0);
    const again = await start({ home: checkout.home, main: checkout.main });
    expect(again.adminSecret).toBeUndefined();
    expect(await stop(again)).toBe(0);
    await rm(closed, { recursive: true, force: true });
  });

  test('started by root with a socket of PostgreSQL that only root can reach, it stays root; else it does not', async () => {
    const database = await createTestDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'lanyard-socket-'));
    const proxy = await startProxy(database.connectionString, folder);
    const secretKey = 'a secret key that is long enough for one';
    const env = { DATABASE_URL: proxy.connectionString, LANYARD_SECRET_KEY: secretKey, LANYARD_WORKERS: '1' };
    const socket = `${folder}/.s.PGSQL.5433`;
    // To connect takes the right to write.
    for (const [ofFolder, ofSocket, isReachable] of [
      [0o700, 0o777, false],
      [0o755, 0o755, false],
      [0o755, 0o777, true],
    ] as const) {
      await chmod(folder, ofFolder);
      await chmod(socket, ofSocket);
      const lanyard = await start({ home, main, env });
      expect(lanyard.stdout.includes(`${socket} cannot be reached (EACCES)`)).toBe(!isReachable);
      expect((await stat(`/proc/${lanyard.pid}`)).uid === 0).toBe(!isReachable);
      // New connections, each through the folder.
      const answers = await Promise.all([1, 2, 3, 4].map(() => fetch(`${lanyard.issuer}/health/ready`)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect(await stop(lanyard)).toBe(0);
    }
    await proxy.stop();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  describe('root with other rights than usual', () => {
    const canSet = spawnSync('setpriv', ['--version']).status === 0;
    let database: TestDatabase;
    let env: Record<string, string>;
    beforeEach(async () => {
      database = await createTestDatabase();
      const secretKey = 'a secret key that is long enough for one';
      env = { DATABASE_URL: database.connectionString, LANYARD_SECRET_KEY: secretKey, LANYARD_WORKERS: '1' };
    });
    afterEach(async () => {
      await stopAll();
      await database.drop();
    });
    const as = (...flags: string[]) => ['setpriv', ...flags, process.execPath, main] as const;
    const testRights = testWhere(
      canSet,
      'only setpriv (util-linux) starts a process with fewer rights, and it is not there',
    );

    testRights('which may not change its user says so, and goes on', async () => {
      const lanyard = await start({ home, env, command: as('--bounding-set=-setuid,-setgid') });
      await expectWorking(lanyard);
      expect(lanyard.stdout).toMatch(/may not change its user \(EPERM\).*the server keeps running as root/);
      expect(await stop(lanyard)).toBe(0);
    });

    testRights('which keeps its capabilities, and so could take root back, does not serve', async () => {
      const lanyard = await launch({ home, env, command: as('--securebits=+no_setuid_fixup') });
      expect(await lanyard.exited).toEqual({ code: 1, signal: null });
      expect(lanyard.stderr).toBe('root could not be given up\n');
    });
  });

  const testMount = testWhere(canMount, 'without the right to mount, /etc cannot be made read-only for one process');

  // In a mount of its own, /etc is read-only and has no account of Lanyard's, as in many containers.
  testMount('where no account can be made, a uid that nobody has takes its place', async () => {
    const etc = await mkdtemp(join(open, 'etc-'));
    const script =
      `cp -a /etc/. ${etc} && sed -i /^lanyard:/d ${etc}/passwd && mount --bind ${etc} /etc && ` +
      `mount -o remount,bind,ro /etc && exec ${process.execPath} ${main}`;
    const command = ['unshare', '--mount', 'sh', '-c', script] as const;
    const lanyard = await start({ home, command });
    const { uid } = await stat(join(home, 'data', 'postgres', 'cluster'));
    expect(uid).toBeGreaterThanOrEqual(60_706);
    await expectUnprivileged(lanyard.pid, uid);
    await expectUnprivileged((await postmasterOf(home))?.pid as number, uid);
    await expectWorking(lanyard);
    lanyard.kill('SIGKILL');
    await lanyard.exited;
    // Its database still runs under that uid.
    const again = await start({ home, command });
    await expectUnprivileged(again.pid, uid);
    expect(await stop(again)).toBe(0);

    const elsewhere = await start({ home, main });
    await expectUnprivileged(elsewhere.pid, accountNamed('lanyard'));
    expect(await stop(elsewhere)).toBe(0);
  });

  function accountNamed(name: string): number | undefined {
    const { status, stdout } = spawnSync('id', ['-u', name], { encoding: 'utf8' });
    return status === 0 ? Number(stdout) : undefined;
  }

  /** All four ids of both kinds, no other group, no capability. */
  async function expectUnprivileged(pid: number, uid: number | undefined): Promise<void> {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const [, uids] = /^Uid:\s+(.*)$/m.exec(status) ?? [];
    const [, gids] = /^Gid:\s+(.*)$/m.exec(status) ?? [];
    expect(uids).toBe([uid, uid, uid, uid].join('\t'));
    expect(uid).not.toBe(0);
    expect(gids?.split('\t')).not.toContain('0');
    expect(status).toMatch(/^Groups:[\t ]*$/m);
    for (const name of ['CapPrm', 'CapEff', 'CapAmb']) expect(status).toMatch(new RegExp(`^${name}:\\s+0+$`, 'm'));
  }

  async function expectClosedOf(folder: string, name: string, uid: number): Promise<void> {
    expect((await stat(join(folder, 'data', name))).uid).toBe(0);
    expect(spawnSync('cat', [join(folder, 'data', name)], { uid }).status).not.toBe(0);
  }

  function expectHandshake(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: 'localhost', ca: certificate.cert }, () => {
        socket.destroy();
        resolve();
      });
      socket.on('error', reject);
    });
  }
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
