// Root starts Lanyard in a folder that no other user may enter, such as a home directory of mode 700: PostgreSQL runs as an
// ordinary user there, which reaches neither its data nor its programs by their path. And the other way round: an ordinary
// user, for whom none of that is done.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  cp,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { findNativeDir } from '../../src/database/embedded/binaries.ts';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.ts';
import { superuserUrl } from '../../src/database/embedded/roles.ts';
import { copyCheckout, isRoot } from '../support/as-root.ts';
import { eventually, until } from '../support/patience.ts';

let closedDir: string;

beforeEach(async () => {
  closedDir = await mkdtemp(join(tmpdir(), 'lanyard-closed-'));
  await chmod(closedDir, 0o700);
});

afterEach(() => rm(closedDir, { recursive: true, force: true }));

// Only root can run PostgreSQL as another user; any other user shows that an ordinary user needs none of this.
if (isRoot) {
  test('runs with data and programs in a folder that only root can enter', async () => {
    const nativeDir = join(closedDir, 'native');
    await cp(await findNativeDir(), nativeDir, { recursive: true, verbatimSymlinks: true });
    const lines: string[] = [];
    const options = { dataDir: join(closedDir, 'postgres'), nativeDir, log: (line: string) => lines.push(line) };

    const first = await startEmbeddedPostgres(options);
    const { uid } = await stat(`/proc/${first.pid}`);
    expect(uid).not.toBe(0);
    expect(spawnSync('ls', [closedDir], { uid }).status).not.toBe(0);

    // CHECKPOINT and ALTER SYSTEM are for superusers.
    const { port } = first;
    const client = await connect(await superuserUrl(options.dataDir, { port, databaseName: 'lanyard' }));
    await client.query('CREATE TABLE kept AS SELECT g AS id FROM generate_series(1, 50000) g');
    await client.query('ALTER TABLE kept OWNER TO lanyard');
    await client.query('CREATE INDEX ON kept (id)');
    await client.query('CHECKPOINT');
    // The configuration is read again by its name, /proc/self/fd/3/postgresql.conf.
    await client.query("ALTER SYSTEM SET work_mem = '7MB'");
    await client.query('SELECT pg_reload_conf()');
    await eventually(async () => expect((await client.query('SHOW work_mem')).rows[0].work_mem).toBe('7MB'));

    // A backend that dies takes all others down, and the postmaster recovers by itself.
    const victim = await connect(first.connectionString);
    const backendPid = (await victim.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    process.kill(backendPid, 'SIGKILL');
    await eventually(async () => expect(await countKept(first.connectionString)).toBe(50_000));

    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    await first.stop();
    const second = await startEmbeddedPostgres(options);
    expect(await countKept(second.connectionString)).toBe(50_000);
    await second.stop();
    expect(lines.filter((line) => /PANIC|No such file|Permission denied/.test(line))).toEqual([]);
  });

  test('copies the programs to a place where only root can change them', async () => {
    const nativeDir = join(closedDir, 'native');
    await cp(await findNativeDir(), nativeDir, { recursive: true, verbatimSymlinks: true });
    const postgres = await startEmbeddedPostgres({ dataDir: join(closedDir, 'postgres'), nativeDir, log: () => {} });
    const program = await realpath(`/proc/${postgres.pid}/exe`);
    await postgres.stop();

    expect(program.startsWith(closedDir)).toBe(false);
    for (let path = program; path !== '/'; path = join(path, '..')) {
      const { uid, mode } = await stat(path);
      expect({ path, uid, writableByOthers: mode & 0o022 }).toEqual({ path, uid: 0, writableByOthers: 0 });
    }
  });

  test('gives the database user the cluster, but not the password beside it', async () => {
    const dataDir = join(closedDir, 'postgres');
    const postgres = await startEmbeddedPostgres({ dataDir, log: () => {} });
    const { uid } = await stat(`/proc/${postgres.pid}`);
    await postgres.stop();
    const owners = await Promise.all(
      (await readdir(dataDir)).map(async (name) => [name, (await stat(join(dataDir, name))).uid]),
    );
    expect(Object.fromEntries(owners)).toEqual({ cluster: uid, lock: 0, 'postgres-password': 0 });
  });

  test('takes over the cluster that an earlier version gave to a shared account, once the PostgreSQL that runs there has ended', async () => {
    const shared = { uid: 13_131, gid: 13_131 };
    const dataDir = join(closedDir, 'postgres');
    const cluster = join(dataDir, 'cluster');
    const first = await startEmbeddedPostgres({ dataDir, log: () => {} });
    const account = await stat(cluster);
    const program = await realpath(`/proc/${first.pid}/exe`);
    const client = await connect(first.connectionString);
    await client.query('CREATE TABLE kept AS SELECT 1 AS id');
    await client.end();
    await first.stop();
    spawnSync('chown', ['-R', `${shared.uid}:${shared.gid}`, cluster]);
    // What that account could have left there: a link that leads root elsewhere.
    const precious = join(closedDir, 'precious');
    await writeFile(precious, 'of root');
    await symlink(precious, join(cluster, 'link'));
    for (const folder of [closedDir, dataDir]) await chmod(folder, 0o711);
    const settings = ['-c', 'unix_socket_directories=', '-c', 'listen_addresses='];
    const orphan = spawn(program, ['-D', cluster, ...settings], { ...shared, cwd: '/', stdio: 'ignore' });
    const ended = once(orphan, 'exit');
    await until(() => existsSync(join(cluster, 'postmaster.pid')), 'the start of the orphan');

    const second = await startEmbeddedPostgres({ dataDir, log: () => {} });
    await ended;
    expect(await countKept(second.connectionString)).toBe(1);
    expect((await stat(`/proc/${second.pid}`)).uid).toBe(account.uid);
    await second.stop();
    expect((await stat(precious)).uid).toBe(0);
    for (const name of await readdir(cluster, { recursive: true })) {
      expect({ name, uid: (await lstat(join(cluster, name))).uid }).toEqual({ name, uid: account.uid });
    }
  });

  test('refuses to take over a second name of a file elsewhere, and continues a take-over that was cut short', async () => {
    const dataDir = join(closedDir, 'postgres');
    const cluster = join(dataDir, 'cluster');
    await (await startEmbeddedPostgres({ dataDir, log: () => {} })).stop();
    const precious = join(closedDir, 'precious');
    await writeFile(precious, 'of root');
    await link(precious, join(cluster, 'base', 'second-name'));
    spawnSync('chown', ['-R', '13131:13131', cluster]);
    await chown(precious, 0, 0);
    await expect(startEmbeddedPostgres({ dataDir, log: () => {} })).rejects.toThrow(/second-name has another name/);
    expect((await stat(precious)).uid).toBe(0);

    await rm(join(cluster, 'base', 'second-name'));
    const again = await startEmbeddedPostgres({ dataDir, log: () => {} });
    await again.stop();
    expect((await stat(join(cluster, 'base'))).uid).not.toBe(13_131);
  });

  test('takes over nothing that the owner of the data folder could have put in the place of the cluster', async () => {
    const dataDir = join(closedDir, 'postgres');
    const cluster = join(dataDir, 'cluster');
    await (await startEmbeddedPostgres({ dataDir, log: () => {} })).stop();
    await rename(cluster, `${cluster}.away`);
    const precious = join(closedDir, 'precious');
    await mkdir(precious);
    await writeFile(join(precious, 'file'), 'of root');
    await symlink(precious, cluster);
    await expect(startEmbeddedPostgres({ dataDir, log: () => {} })).rejects.toThrow(/cluster is no folder/);
    // Of another account: the folder may become a link meanwhile.
    await rm(cluster);
    await rename(`${cluster}.away`, cluster);
    spawnSync('chown', ['-R', '13131:13131', cluster]);
    await chown(dataDir, 12_345, 12_345);
    await expect(startEmbeddedPostgres({ dataDir, log: () => {} })).rejects.toThrow(/does not belong to root/);
    expect((await stat(join(precious, 'file'))).uid).toBe(0);
  });

  test('leaves a cluster that an ordinary user made to that user, and can use it too', async () => {
    const user = 12_345;
    await chmod(closedDir, 0o755);
    const dataDir = join(closedDir, 'home', 'postgres');
    await mkdir(join(closedDir, 'home'));
    // initdb wants a name for its user, so the cluster is made by the database user and handed over.
    await (await startEmbeddedPostgres({ dataDir, log: () => {} })).stop();
    // In some images the group of every user is root's, which who gives root up must not keep.
    spawnSync('chown', ['-R', `${user}:0`, join(closedDir, 'home')]);

    const asRootAgain = await startEmbeddedPostgres({ dataDir, log: () => {} });
    expect(asRootAgain.account).toEqual({ uid: user, gid: user });
    expect((await stat(`/proc/${asRootAgain.pid}`)).uid).toBe(user);
    await asRootAgain.stop();
    expect(await runAs(user, user, dataDir)).toBe(`uid ${user}\n`);
  });

  test('is not needed: an ordinary user runs PostgreSQL under its own name, from the first start on', async () => {
    await (await startEmbeddedPostgres({ dataDir: join(closedDir, 'probe'), log: () => {} })).stop();
    const { uid, gid } = await stat(join(closedDir, 'probe', 'cluster'));
    const home = join(closedDir, 'home');
    await mkdir(home, { mode: 0o700 });
    await chown(home, uid, gid);
    await chmod(closedDir, 0o711);
    expect(await runAs(uid, gid, join(home, 'data', 'postgres'))).toBe(`uid ${uid}\n`);
  });
} else {
  test('an ordinary user runs PostgreSQL under its own name', async () => {
    const dataDir = join(closedDir, 'postgres');
    const postgres = await startEmbeddedPostgres({ dataDir, log: () => {} });
    const { uid } = await stat(join(dataDir, 'cluster', 'postmaster.pid'));
    await postgres.stop();
    expect(uid).toBe(process.getuid?.());
  });
}

/** Starts PostgreSQL in a process of that user and tells which user PostgreSQL runs as. */
async function runAs(uid: number, gid: number, dataDir: string): Promise<string> {
  // This user may not be allowed to enter the folder of the checkout; the temporary folder is open.
  const open = await mkdtemp(join(tmpdir(), 'lanyard-open-'));
  await chmod(open, 0o755);
  const { home: checkout } = await copyCheckout(open);
  const script = `
    import { statSync } from 'node:fs';
    import { startEmbeddedPostgres } from ${JSON.stringify(join(checkout, 'src', 'database', 'embedded', 'embedded-postgres.ts'))};
    const postgres = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log: () => {} });
    console.log('uid', statSync('/proc/' + postgres.pid).uid);
    await postgres.stop();`;
  const child = spawn(
    join(checkout, 'node_modules', 'node', 'bin', 'node'),
    ['--input-type=module', '--eval', script],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      uid,
      gid,
    },
  );
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  await rm(open, { recursive: true, force: true });
  return out + errors;
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function countKept(connectionString: string): Promise<number> {
  const client = await connect(connectionString);
  const { rows } = await client.query('SELECT count(*)::int AS count FROM kept');
  await client.end();
  return rows[0].count;
}
