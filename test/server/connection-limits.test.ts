// Time for a client to read, with answers of a size that this server has not.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createConnectionLimits } from '../../src/server/connection-limits.ts';
import { connectionLimit } from '../../src/server/descriptor-limit.ts';
import { parseExposition } from '../support/exposition.ts';
import { until, untilSecond } from '../support/patience.ts';

/** More than the kernel takes for a client that does not read. */
const LARGE = Buffer.alloc(64 * 1024 * 1024);
const HALF = LARGE.length / 2;
/** Longer than a client may be silent. */
const SLOW_SECONDS = 12;

const metrics = createMetrics();
const logLines: string[] = [];
const log = createLog('trace', { write: (line: string) => void logLines.push(line) });
const limits = createConnectionLimits({ maxConnections: undefined, keepAliveSeconds: 1, metrics, log });
const server = createServer(limits.options, limits.limitRequests(answer));
limits.limitConnections(server);
const sockets: Socket[] = [];

beforeEach(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

function answer({ url }: IncomingMessage, response: ServerResponse): void {
  if (url === '/large') response.end(LARGE);
  else void untilSecond(Date.now() / 1000 + SLOW_SECONDS).then(() => response.end('at last'));
}

function ask(path: string): Socket {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  sockets.push(socket);
  return socket;
}

test('a client that does not read is cut off, one that reads slowly or waits for a slow answer is not', async () => {
  const unread = ask('/large');
  unread.pause();
  const waiting = ask('/slow').setEncoding('utf8');
  let received = '';
  waiting.on('data', (chunk) => {
    received += chunk;
  });
  const slow = ask('/large');
  let bytesRead = 0;
  for await (const chunk of slow as AsyncIterable<Buffer>) {
    bytesRead += chunk.length;
    // Two rests, of which none is too long by itself.
    if (bytesRead === chunk.length) await untilSecond(Date.now() / 1000 + SLOW_SECONDS / 2);
    if (bytesRead - chunk.length < HALF && bytesRead >= HALF) await untilSecond(Date.now() / 1000 + SLOW_SECONDS / 2);
    if (bytesRead > LARGE.length) break;
  }
  await until(() => received.includes('at last'), 'the slow answer');
  expect(bytesRead).toBeGreaterThan(LARGE.length);
  const count = async () => parseExposition((await metrics.read()).body);
  await until(async () => (await count()).value('lanyard_connections_dropped_total', { reason: 'unread' }) === 1);
  await until(async () => (await count()).value('lanyard_connections_open') === 0, 'the end of all');
  expect(logLines.join()).toContain('the client did not read the answer');
});

test('connections leave descriptors for what is needed beside them, and two listeners share them', () => {
  const others = { databasePoolSize: 20, listeners: 1 };
  expect(connectionLimit(1024, others)).toBe(678);
  expect(connectionLimit(1024, { ...others, listeners: 2 })).toBe(339);
  expect(connectionLimit(64, others)).toBe(1);
  expect(connectionLimit(undefined, others)).toBeUndefined();
});
