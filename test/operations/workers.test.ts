// Several processes behind one port (LANYARD_WORKERS): what happens once happens once, a worker that exits is replaced, and every
// request on an accepted connection is answered.

import { Agent, request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createRestartDelay } from '../../src/process/restart-delay.ts';
import { requestToken } from '../support/admin.ts';
import { until } from '../support/patience.ts';
import {
  isAlive,
  launch,
  makeHome,
  removeHome,
  serverProcessesBelow,
  start,
  stop,
  stopAll,
} from '../support/process.ts';
import { freePort } from '../support/server.ts';

const WORKERS = 3;
const LOOPS = 48;

let home: string;
let port: number;
let adminSecret: string;
const env = { LANYARD_WORKERS: String(WORKERS) };

beforeAll(async () => {
  home = await makeHome();
  port = await freePort();
});
afterEach(stopAll);
afterAll(() => removeHome(home));

type Outcome = 'answered' | 'refused' | 'unread' | 'lost';

/** One request on a connection that stays open; `refused` means that no process accepted the connection. */
function ask(agent: Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    const body = 'grant_type=client_credentials';
    const authorization = `Basic ${Buffer.from(`lanyard-admin:${adminSecret}`).toString('base64')}`;
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': body.length,
      authorization,
    };
    const outgoing = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/oauth2/token', agent, headers });
    outgoing.setHeader('host', `localhost:${port}`);
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      // RFC 9112 §9.3.1: a connection may be closed while idle, also while the next request is on its way to it.
      const isUnread = outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
      resolve(error.code === 'ECONNREFUSED' ? 'refused' : isUnread ? 'unread' : 'lost');
    });
    outgoing.on('response', (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      incoming.on('error', () => resolve('lost'));
      incoming.on('end', () => resolve(incoming.statusCode === 200 && text.endsWith('}') ? 'answered' : 'lost'));
    });
    outgoing.end(body);
  });
}

/** Loops on kept-alive connections until connections are refused, or until stop() closes them. */
function startLoad() {
  const counts = { answered: 0, refused: 0, unread: 0, lost: 0 };
  const agents = Array.from({ length: LOOPS }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  let isOver = false;
  const loops = agents.map(async (agent) => {
    while (!isOver) {
      const outcome = await ask(agent);
      if (isOver) break;
      counts[outcome]++;
      if (outcome === 'refused') break;
    }
    agent.destroy();
  });
  const ended = Promise.all(loops);
  return {
    counts,
    ended,
    async stop() {
      isOver = true;
      // A connection that was being handed to a worker that was killed is never answered.
      for (const agent of agents) agent.destroy();
      await ended;
    },
  };
}

describe('a start', () => {
  test('migrates once, shows the admin secret once, and all workers answer', async () => {
    const lanyard = await start({ home, port, env });
    adminSecret = lanyard.adminSecret as string;
    expect(adminSecret).toMatch(/^lys_/);
    expect(lanyard.stderr.match(/client_secret/g)).toHaveLength(1);
    expect(lanyard.stdout.match(/migrations applied/g)).toHaveLength(1);
    expect(await serverProcessesBelow(lanyard.pid)).toHaveLength(WORKERS);
    const { status } = await requestToken(lanyard.issuer, { clientId: 'lanyard-admin', clientSecret: adminSecret });
    expect(status).toBe(200);
    expect(await stop(lanyard)).toBe(0);
  });

  test('at a port that is taken ends with that message, and no worker stays', async () => {
    const first = await start({ home, port, env });
    const other = await makeHome();
    const second = await launch({ home: other, port, env });
    expect((await second.exited).code).toBe(1);
    expect(second.stderr).toContain(`LANYARD_PORT ${port}`);
    expect(second.stderr).toContain(`try LANYARD_PORT=${port + 1}`);
    expect(second.stderr).not.toContain('client_secret');
    expect(await stop(first)).toBe(0);
    await removeHome(other);
  });
});

describe('under load', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s loses no request on an accepted connection', async (signal) => {
    const lanyard = await start({ home, port, env });
    const load = startLoad();
    await until(() => load.counts.answered > 500, 'the load');
    expect(await stop(lanyard, signal)).toBe(0);
    await load.ended;
    expect(load.counts.lost).toBe(0);
    expect(load.counts.refused).toBe(LOOPS);
    // Every request that a worker has read has reached its client with its answer.
    expect(lanyard.stdout.match(/"msg":"request"/g)).toHaveLength(load.counts.answered);
    expect(await serverProcessesBelow(lanyard.pid)).toEqual([]);
    // A stop is no error, and prints no stack trace.
    expect(lanyard.stderr).toMatch(/\nStopping\.\n$/);
    expect(lanyard.stdout).not.toMatch(/"level":"(error|fatal)"/);
  });

  test('a worker that is killed is replaced, and the others answer meanwhile', async () => {
    const lanyard = await start({ home, port, env });
    const load = startLoad();
    await until(() => load.counts.answered > 200, 'the load');
    const [victim] = await serverProcessesBelow(lanyard.pid);
    process.kill(victim as number, 'SIGKILL');
    const before = load.counts.answered;
    await until(() => load.counts.answered > before + 200, 'answers of the others');
    const isReplaced = async () => {
      const workers = await serverProcessesBelow(lanyard.pid);
      return workers.length === WORKERS && !workers.includes(victim as number);
    };
    await until(isReplaced, 'the replacement');
    await load.stop();
    // The requests that the victim was answering are lost, and no others.
    expect(load.counts.lost + load.counts.unread).toBeLessThanOrEqual(LOOPS);
    expect(load.counts.refused).toBe(0);
    expect(lanyard.stdout).toContain('"signal":"SIGKILL"');
    expect(await stop(lanyard)).toBe(0);
  });
});

test('workers without a primary exit, and the port is free again', async () => {
  const lanyard = await start({ home, port, env });
  const workers = await serverProcessesBelow(lanyard.pid);
  lanyard.kill('SIGKILL');
  await lanyard.exited;
  for (const pid of workers) await until(async () => !(await isAlive(pid)), 'the end of a worker');
  const next = await start({ home, port, env });
  expect(await stop(next)).toBe(0);
});

describe('the delay before a worker is replaced', () => {
  test('doubles while workers live shortly, up to half a minute', () => {
    const restartDelay = createRestartDelay();
    const delays = Array.from({ length: 12 }, () => restartDelay.next(50));
    expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(delays.at(-1)).toBe(30_000);
  });

  test('is short again after a worker that lived long', () => {
    const restartDelay = createRestartDelay();
    for (let n = 0; n < 5; n++) restartDelay.next(50);
    expect(restartDelay.next(3_600_000)).toBe(100);
    expect(restartDelay.next(50)).toBe(200);
  });
});
