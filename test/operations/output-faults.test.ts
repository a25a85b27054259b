// stdout and stderr of a server whose reader has stopped, is gone, or whose disk is full or hangs: requests are answered all the same, a
// stop ends, and what was not written is counted.

import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { requestToken } from '../support/admin.ts';
import { canMount, canMountImages } from '../support/as-root.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import { until } from '../support/patience.ts';
import {
  isAlive,
  type LanyardProcess,
  launch,
  MAIN,
  makeHome,
  type ProcessOptions,
  removeHome,
  serverProcessesBelow,
  stop,
  stopAll,
} from '../support/process.ts';
import { ADMIN_SECRET, freePort, SECRET_KEY } from '../support/server.ts';
import { describeWhere, testWhere } from '../support/where.ts';

const DROPPED = 'lanyard_log_lines_dropped_total';
const LOOPS = 32;
const NEWLINE = 0x0a;

let home: string;
let database: TestDatabase;
let port: number;
let metricsPort: number;
let cleanups: (() => void)[];
beforeEach(async () => {
  cleanups = [];
  home = await makeHome();
  database = await createTestDatabase();
  port = await freePort();
  metricsPort = await freePort();
});
afterEach(async () => {
  await stopAll();
  for (const cleanUp of cleanups.reverse()) cleanUp();
  await database.drop();
  await removeHome(home);
});

async function startWith(
  output: NonNullable<ProcessOptions['output']>,
  workers = 1,
  command: NonNullable<ProcessOptions['command']> = [process.execPath, MAIN],
): Promise<LanyardProcess> {
  const env = {
    DATABASE_URL: database.connectionString,
    LANYARD_SECRET_KEY: SECRET_KEY,
    LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
    LANYARD_DATABASE_POOL_SIZE: '4',
    LANYARD_WORKERS: String(workers),
    LANYARD_METRICS_PORT: String(metricsPort),
  };
  const lanyard = await launch({ home, port, env, output, command });
  await until(async () => (await requestAdminToken(lanyard).catch(() => undefined)) === 200, 'a token');
  // The admin client is there a moment before the start is complete.
  await until(async () => (await fetch(`${lanyard.issuer}/health/ready`)).status === 200, 'the end of the start');
  return lanyard;
}

async function requestAdminToken({ issuer }: LanyardProcess): Promise<number> {
  return (await requestToken(issuer, { clientId: 'lanyard-admin', clientSecret: ADMIN_SECRET })).status;
}

async function expectItAnswers(lanyard: LanyardProcess): Promise<void> {
  for (let n = 0; n < 20; n++) expect(await requestAdminToken(lanyard)).toBe(200);
  for (const path of ['live', 'ready']) expect((await fetch(`${lanyard.issuer}/health/${path}`)).status).toBe(200);
}

async function scrape(): Promise<Exposition> {
  return parseExposition(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text());
}

/** Requests that are logged with long lines, until the condition holds. @returns how many */
async function requestUntil({ issuer }: LanyardProcess, condition: () => Promise<boolean>): Promise<number> {
  let count = 0;
  let isOver = false;
  const loops = Array.from({ length: LOOPS }, async () => {
    while (!isOver) {
      await (await fetch(`${issuer}/nowhere/${'x'.repeat(190)}`)).text();
      count++;
    }
  });
  await until(condition).finally(() => {
    isOver = true;
  });
  await Promise.all(loops);
  return count;
}

const hasDropped = async () => (await scrape()).sum(DROPPED) > 0;

/** A pipe, and its reader. @param options.isFull its reader has stopped before the start */
function openPipe({ isFull = false } = {}) {
  const path = join(home, `pipe-${cleanups.length}`);
  spawnSync('mkfifo', [path]);
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeEnd = openSync(path, constants.O_WRONLY);
  if (isFull) fill(path);
  let isOpen = true;
  const closeReader = () => {
    if (isOpen) closeSync(readEnd);
    isOpen = false;
  };
  cleanups.push(closeReader, () => closeSync(writeEnd));
  return { writeEnd, closeReader, readLines: createReader(readEnd) };
}

function fill(path: string): void {
  const descriptor = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(descriptor, '.'.repeat(1_024));
  } catch (error) {
    expect(error).toMatchObject({ code: 'EAGAIN' });
  } finally {
    closeSync(descriptor);
  }
}

/** @returns a function that reads what is there, and returns all lines so far */
function createReader(descriptor: number): () => string[] {
  const chunks: Buffer[] = [];
  return () => {
    try {
      for (;;) {
        const chunk = Buffer.alloc(65_536);
        const size = readSync(descriptor, chunk);
        if (size === 0) break;
        chunks.push(chunk.subarray(0, size));
      }
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' });
    }
    return Buffer.concat(chunks).toString().split('\n').slice(0, -1);
  };
}

/** A socket that nobody reads, such as systemd and other supervisors give to a service. */
async function openUnreadSocket(): Promise<Socket> {
  const path = join(home, 'socket');
  const server = createServer({ pauseOnConnect: true }, (peer) => cleanups.push(() => peer.destroy()));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const socket = connect(path);
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  cleanups.push(
    () => server.close(),
    () => socket.destroy(),
  );
  return socket;
}

describe.each([1, 2])('with %i process(es), requests are answered and SIGTERM ends it', (workers) => {
  test('while stdout is a pipe that nobody reads', async () => {
    const lanyard = await startWith({ stdout: openPipe({ isFull: true }).writeEnd }, workers);
    await expectItAnswers(lanyard);
    await requestUntil(lanyard, hasDropped);
    await expectItAnswers(lanyard);
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  test('while stdout is a socket that nobody reads', async () => {
    const lanyard = await startWith({ stdout: await openUnreadSocket() }, workers);
    await requestUntil(lanyard, hasDropped);
    await expectItAnswers(lanyard);
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  test('when the reader of stdout is gone', async () => {
    const { writeEnd, closeReader } = openPipe();
    const lanyard = await startWith({ stdout: writeEnd }, workers);
    closeReader();
    await expectItAnswers(lanyard);
    await until(hasDropped, 'dropped lines');
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  test('while the disk of stdout is full', async () => {
    const full = openSync('/dev/full', 'w');
    cleanups.push(() => closeSync(full));
    const lanyard = await startWith({ stdout: full }, workers);
    await expectItAnswers(lanyard);
    await until(hasDropped, 'dropped lines');
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  test('while stdout and stderr are the same pipe, which nobody reads', async () => {
    const { writeEnd } = openPipe({ isFull: true });
    const lanyard = await startWith({ stdout: writeEnd, stderr: writeEnd }, workers);
    await expectItAnswers(lanyard);
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  test('when the reader of stderr is gone or has stopped, or its disk is full', async () => {
    const { writeEnd, closeReader } = openPipe();
    closeReader();
    const full = openSync('/dev/full', 'w');
    cleanups.push(() => closeSync(full));
    for (const stderr of [writeEnd, full, openPipe({ isFull: true }).writeEnd]) {
      const lanyard = await startWith({ stderr }, workers);
      await expectItAnswers(lanyard);
      expect(await stop(lanyard, 'SIGTERM')).toBe(0);
      // The last line that is written before the exit is not lost.
      expect(lanyard.stdout.match(/"path":"\/oauth2\/token","status":200/g)?.length).toBeGreaterThanOrEqual(21);
    }
  });
});

test('a reader that goes on gets whole lines and is told how many were dropped', async () => {
  const { writeEnd, readLines } = openPipe();
  const lanyard = await startWith({ stdout: writeEnd });
  const count = await requestUntil(lanyard, hasDropped);
  const reports = () => readLines().filter((line) => line.includes('lines of the log were dropped'));
  await until(() => reports().length > 0, 'the report');
  expect(await requestAdminToken(lanyard)).toBe(200);
  expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  const lines = readLines().map((line) => JSON.parse(line));
  const written = lines.filter(({ path }) => String(path).startsWith('/nowhere/')).length;
  const dropped = lines.reduce((sum, { lines: ofReport = 0 }) => sum + ofReport, 0);
  expect(dropped).toBeGreaterThan(0);
  expect(written + dropped).toBe(count);
  expect(lines.at(-1)).toMatchObject({ path: '/oauth2/token', status: 200 });
});

test('while stdout and stderr are a terminal that takes nothing, requests are answered and SIGTERM ends it', async () => {
  // The terminal is that of script(1), which stops reading it while nobody reads its own output.
  const { writeEnd } = openPipe({ isFull: true });
  const command = ['script', '-qec', `exec ${process.execPath} ${MAIN}`, '/dev/null'] as const;
  const terminal = await startWith({ stdout: writeEnd }, 1, command);
  await requestUntil(terminal, hasDropped);
  await expectItAnswers(terminal);
  const [pid] = (await serverProcessesBelow(terminal.pid)) as [number];
  process.kill(pid, 'SIGTERM');
  await until(async () => !(await isAlive(pid)), 'its end');
  terminal.kill('SIGKILL');
});

const describeMounts = describeWhere(canMount, 'without the right to mount there is no disk that may be filled');
const testFrozen = testWhere(canMountImages, "without loop devices, fsfreeze would stop the machine's own disk");

describeMounts('as root', () => {
  function mount(options: string[]): string {
    const folder = join(home, 'disk');
    spawnSync('mkdir', [folder]);
    expect(spawnSync('mount', [...options, folder]).status).toBe(0);
    cleanups.push(() => spawnSync('umount', ['--lazy', folder]));
    return folder;
  }

  function openLog(folder: string) {
    const path = join(folder, 'log');
    const descriptor = openSync(path, 'a');
    cleanups.push(() => closeSync(descriptor));
    return { descriptor, lines: () => readFileSync(path, 'utf8').split('\n').slice(0, -1) };
  }

  test.each([1, 2])('a disk that was full for a while, with %i process(es)', async (workers) => {
    const folder = mount(['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs']);
    const filler = join(folder, 'filler');
    writeFileSync(filler, Buffer.alloc(65_536, NEWLINE));
    const log = openLog(folder);
    const lanyard = await startWith({ stdout: log.descriptor }, workers);
    await requestUntil(lanyard, hasDropped);
    await expectItAnswers(lanyard);
    rmSync(filler);
    const isReported = () => log.lines().some((line) => line.includes('lines of the log were dropped'));
    await until(async () => {
      expect(await requestAdminToken(lanyard)).toBe(200);
      return isReported();
    }, 'the report');
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
  });

  testFrozen('a disk that hangs: lines wait until it goes on', async () => {
    const image = join(home, 'image');
    writeFileSync(image, Buffer.alloc(8_388_608));
    expect(spawnSync('mkfs.ext4', ['-q', '-F', image]).status).toBe(0);
    const folder = mount(['-o', 'loop', image]);
    const log = openLog(folder);
    const lanyard = await startWith({ stdout: log.descriptor });
    const freeze = (flag: string) => expect(spawnSync('fsfreeze', [flag, folder]).status).toBe(0);
    freeze('--freeze');
    try {
      await expectItAnswers(lanyard);
    } finally {
      freeze('--unfreeze');
    }
    expect(await stop(lanyard, 'SIGTERM')).toBe(0);
    expect(log.lines().filter((line) => line.includes('"path":"/oauth2/token","status":200'))).toHaveLength(21);
  });
});
