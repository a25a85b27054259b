// `npm start` as a supervisor, a terminal or an operator runs it: the server ends whenever npm does, and drains before.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { until } from '../support/patience.ts';
import { beginTokenRequest, isRefused } from '../support/pending-request.ts';
import {
  isAlive,
  isPostgresGone,
  type LanyardProcess,
  launch,
  makeHome,
  postmasterOf,
  removeHome,
  stopAll,
} from '../support/process.ts';
import { freePort } from '../support/server.ts';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const NPM_START = ['npm', '--prefix', CHECKOUT, '--no-update-notifier', 'start'] as const;

const ADMIN = { clientId: 'lanyard-admin', clientSecret: 'an admin secret for these tests' };

let home: string;
let port: number;
beforeEach(async () => {
  home = await makeHome();
  port = await freePort();
});
afterEach(async () => {
  // A server that outlived its npm ends with its database.
  const postmaster = await postmasterOf(home);
  if (postmaster !== undefined && (await isAlive(postmaster.pid))) process.kill(postmaster.pid, 'SIGINT');
  await stopAll();
  await until(() => isPostgresGone(home), 'the end of the database');
  await removeHome(home);
});

function launchBy(command: readonly [string, ...string[]]): Promise<LanyardProcess> {
  const env = { HOME: home, LANYARD_DATA_DIR: join(home, 'data'), LANYARD_ADMIN_CLIENT_SECRET: ADMIN.clientSecret };
  return launch({ home, port, command, env });
}

async function startByNpm(): Promise<LanyardProcess> {
  const npm = await launchBy(NPM_START);
  await npm.says('Lanyard is running.');
  return npm;
}

describe('a signal to npm', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s reaches the server, and npm ends after it', async (signal) => {
    const npm = await startByNpm();
    npm.kill(signal);
    await until(() => isPostgresGone(home), 'the end of the database');
    expect(await npm.exited).toEqual({ code: 0, signal: null });
    expect(npm.stderr).toMatch(/\nStopping\.\n$/);
    expect(npm.stderr).not.toMatch(/^\s+at |npm error/m);
  });

  test.each(['SIGKILL', 'SIGHUP'] as const)('%s, which npm does not pass on, stops the server too', async (signal) => {
    const npm = await startByNpm();
    npm.kill(signal);
    await until(() => isPostgresGone(home), 'the end of the database');
    // The server has npm's stderr: this waits for the end of both.
    expect((await npm.exited).signal).toBe(signal);
    expect(npm.stderr).toMatch(/\nStopping\.\n$/);
  });
});

// `script` of util-linux is a terminal that a signal closes.
if (process.platform === 'linux') {
  test.each([
    ['node', `exec ${process.execPath} ${join(CHECKOUT, 'src', 'start.mjs')}`],
    ['npm start', NPM_START.join(' ')],
  ])('a terminal that is closed stops %s, after a request that has begun', async (_name, command) => {
    const terminal = await launchBy(['script', '--quiet', '--command', command, '/dev/null']);
    await until(() => terminal.stdout.includes('Lanyard is running.'), 'the start');
    const pending = await beginTokenRequest(port, ADMIN);
    terminal.kill('SIGKILL');
    await terminal.exited;
    await until(() => isRefused(port), 'the end of listening');
    // The log line of this request has nowhere to go, and neither has "Stopping."
    expect((await pending.finish()).status).toBe(200);
    // PostgreSQL is in a process group of its own and has no terminal: only the server's clean-up ends it.
    await until(() => isPostgresGone(home), 'the end of the database');
  });
}
