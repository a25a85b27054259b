// Clients that hold connections for nothing, at a process that has 256 file descriptors: it answers again when they are gone, in one
// process and in several, and says what happened.

import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { makeCertificate } from '../support/certificates.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import { eventually, until } from '../support/patience.ts';
import {
  isAlive as isRunning,
  type LanyardProcess,
  makeHome,
  removeHome,
  serverProcessesBelow,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { freePort } from '../support/server.ts';

const MAIN = fileURLToPath(new URL('../../src/start.mjs', import.meta.url));
const DESCRIPTORS = 256;
/** What 256 descriptors leave for connections, for each process (server/descriptor-limit.ts). */
const LIMIT = 114;
const certificate = makeCertificate({ subject: [['CN', 'localhost']], dns: ['localhost'] });

let home: string;
let folder: string;
let database: TestDatabase;
let metricsPort: number;
const sockets: Socket[] = [];
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

beforeAll(async () => {
  home = await makeHome();
  folder = await mkdtemp(join(tmpdir(), 'lanyard-tls-'));
  await writeFile(join(folder, 'cert'), certificate.cert);
  await writeFile(join(folder, 'key'), certificate.key);
});
beforeEach(async () => {
  database = await createTestDatabase();
  metricsPort = await freePort();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await stopAll();
  await database.drop();
});
afterAll(async () => {
  agent.destroy();
  await removeHome(home);
  await rm(folder, { recursive: true });
});

/** With few descriptors, as `ulimit -n` of a service manager sets it. */
function startWithFewDescriptors(env: Record<string, string> = {}): Promise<LanyardProcess> {
  return start({
    home,
    command: ['sh', '-c', `ulimit -n ${DESCRIPTORS}; exec ${process.execPath} ${MAIN}`],
    env: {
      DATABASE_URL: database.connectionString,
      LANYARD_SECRET_KEY: 'a secret key that is long enough for one',
      LANYARD_DATABASE_POOL_SIZE: '4',
      LANYARD_METRICS_PORT: String(metricsPort),
      LANYARD_WORKERS: '1',
      ...env,
    },
  });
}

function portOf({ issuer }: LanyardProcess): number {
  return Number(new URL(issuer).port);
}

/** A connection that sends nothing, or that text, and reads what comes. */
function open(port: number, sends = ''): { isClosed: boolean } {
  const state = { isClosed: false };
  const socket = connect(port, '127.0.0.1', () => socket.write(sends));
  socket.on('error', () => {});
  socket.on('close', () => {
    state.isClosed = true;
  });
  socket.resume();
  sockets.push(socket);
  return state;
}

/** @returns whether a new connection is answered */
async function isAlive(port: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/health/live`, { headers: { connection: 'close' } }).catch(
    () => undefined,
  );
  return answer?.status === 200;
}

/** Again when refused: for a moment, connections that no worker has taken yet can use up the descriptors of the primary. */
function readMetrics(): Promise<Exposition> {
  return eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { headers: { connection: 'close' } });
    return parseExposition(await answer.text());
  });
}

/** On the one connection of the agent. */
async function askOnKeptConnection(port: number): Promise<[IncomingMessage, Socket]> {
  const outgoing = request({ port, host: '127.0.0.1', path: '/health/live', agent });
  outgoing.end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  await text(incoming);
  return [incoming, outgoing.socket as Socket];
}

test.each([1, 2])(
  'more silent connections than %i process(es) can hold are refused, and closed after ten seconds',
  async (workers) => {
    const lanyard = await startWithFewDescriptors({ LANYARD_WORKERS: String(workers) });
    const port = portOf(lanyard);
    const [first, socket] = await askOnKeptConnection(port);
    expect(first.headers['keep-alive']).toBe('timeout=75');

    const silent: { isClosed: boolean }[] = [];
    const openSome = (count: number) => {
      for (let n = 0; n < count; n++) silent.push(open(port));
    };
    await until(async () => {
      openSome(40);
      return !(await isAlive(port));
    }, 'the first refusal');
    openSome(2 * DESCRIPTORS);
    const hasRefused = async () =>
      (await readMetrics()).value('lanyard_connections_dropped_total', { reason: 'limit' }) > 0;
    await until(hasRefused, 'the count of the refusals');
    const metrics = await readMetrics();
    expect(metrics.value('lanyard_connections_limit')).toBe(workers * LIMIT);
    expect(metrics.value('lanyard_connections_open')).toBeLessThanOrEqual(workers * LIMIT);
    const lines = lanyard.stdout.match(/"msg":"connections were refused/g);
    expect(lines?.length).toBeGreaterThan(0);
    // Not one for each connection.
    expect(lines?.length).toBeLessThan(20);

    await until(() => silent.every(({ isClosed }) => isClosed), 'the end of the silent connections');
    for (let n = 0; n < 2 * workers; n++) expect(await isAlive(port)).toBe(true);
    // Meanwhile a connection that was used before was idle, for twice as long as Node's default: its next request is not lost.
    const [second, sameSocket] = await askOnKeptConnection(port);
    expect([second.statusCode, sameSocket]).toEqual([200, socket]);
    expect(await stop(lanyard)).toBe(0);
    expect(lanyard.stdout).not.toMatch(/"level":"(error|fatal)"/);
  },
);

test('connections that wait for workers that are stopped are taken later, and a worker that cannot be made is made later', async () => {
  const lanyard = await startWithFewDescriptors({ LANYARD_WORKERS: '2' });
  const port = portOf(lanyard);
  const [first, second] = (await serverProcessesBelow(lanyard.pid)) as [number, number];
  for (const pid of [first, second]) process.kill(pid, 'SIGSTOP');
  // More than the primary has descriptors for.
  const silent = Array.from({ length: 2 * DESCRIPTORS }, () => open(port));
  await until(() => silent.some(({ isClosed }) => isClosed), 'the first refusals');
  process.kill(first, 'SIGKILL');
  await until(() => lanyard.stdout.includes('EMFILE'), 'the failure of its replacement');
  if (await isRunning(second)) process.kill(second, 'SIGCONT');
  await until(async () => (await serverProcessesBelow(lanyard.pid)).length === 2, 'the replacement');
  await until(() => isAlive(port), 'an answer');
  expect(await stop(lanyard)).toBe(0);
});

test('a TLS connection without a handshake, or without a request after it, is closed too, and a silent one to the metrics', async () => {
  const tlsPort = await freePort();
  const lanyard = await startWithFewDescriptors({
    LANYARD_TLS_PORT: String(tlsPort),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
  });
  const withoutHandshake = open(tlsPort);
  const atMetrics = open(metricsPort);
  const { connect: connectTls } = await import('node:tls');
  const withHandshake = connectTls({ port: tlsPort, host: 'localhost', ca: certificate.cert });
  sockets.push(withHandshake);
  withHandshake.resume();
  await once(withHandshake, 'secureConnect');
  expect((await readMetrics()).value('lanyard_connections_open')).toBe(2);
  await until(() => withoutHandshake.isClosed && withHandshake.closed && atMetrics.isClosed, 'the end of all');
  await until(
    async () => (await readMetrics()).value('lanyard_connections_open') === 0,
    'the end of both at the server',
  );
  expect(await stop(lanyard)).toBe(0);
});

test('a client that pipelines and never reads is cut off: others are answered, and memory does not grow', async () => {
  const lanyard = await startWithFewDescriptors({ LANYARD_KEEP_ALIVE_TIMEOUT_SECONDS: '1' });
  const port = portOf(lanyard);
  const memoryMb = async () =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${lanyard.pid}/status`, 'utf8'))?.[1]) / 1024;
  const before = await memoryMb();
  const requests = `GET /.well-known/openid-configuration HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`.repeat(20_000);
  const flood = Array.from({ length: 30 }, () => {
    const state = open(port, requests);
    sockets.at(-1)?.pause();
    return state;
  });
  expect(await isAlive(port)).toBe(true);
  await until(() => flood.every(({ isClosed }) => isClosed), 'the end of the flood');
  // What Node had read of each at once is garbage. Answered, the requests would take more than 800 MB.
  expect((await memoryMb()) - before).toBeLessThan(400);
  expect((await readMetrics()).value('lanyard_connections_dropped_total', { reason: 'pipelined' })).toBe(flood.length);
  expect(lanyard.stdout).toContain('too many requests waited on them');

  // One that reads gets its answers, and its connection is closed when it has been idle for the second that was asked for.
  const few = open(port, `GET /health/live HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`.repeat(20));
  let answers = '';
  sockets
    .at(-1)
    ?.setEncoding('utf8')
    .on('data', (chunk) => {
      answers += chunk;
    });
  await until(() => few.isClosed, 'the end of an idle connection');
  expect(answers.match(/HTTP\/1.1 200/g)).toHaveLength(20);
  expect(answers).toContain('Keep-Alive: timeout=1\r\n');
  expect(await stop(lanyard)).toBe(0);
});
