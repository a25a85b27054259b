// `npm run demo` as a newcomer runs it: its exit code, what it prints, what it leaves behind. docs/demo.md shows its transcript.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..');

interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A text on stdout, and what happens to the demo when it has appeared. */
interface Incident {
  readonly after: string;
  strike(child: ChildProcess): Promise<void> | void;
}

function runDemo(temporaryDir: string, incident?: Incident): Promise<Run> {
  const child = spawn(process.execPath, ['src/demo/demo.ts'], {
    cwd: ROOT,
    // None of the variables of this process: a newcomer has none either.
    env: { PATH: process.env.PATH, TMPDIR: temporaryDir },
  });
  let stdout = '';
  let stderr = '';
  let hasStruck = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (!hasStruck && incident !== undefined && stdout.includes(incident.after)) {
      hasStruck = true;
      void incident.strike(child);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}

/** The transcript without what differs from run to run. */
function withoutChance(transcript: string): string {
  return transcript
    .replace(/localhost:\d+/g, 'localhost:PORT')
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/"(exp|iat)": \d+/g, '"$1": SECONDS')
    .replace(/"jti": "[\w-]+"/, '"jti": "ID"')
    .replace(/ +$/gm, '')
    .trim();
}

describe('the demo', () => {
  let temporaryDir: string;
  let run: Run;

  beforeAll(async () => {
    temporaryDir = await mkdtemp(join(tmpdir(), 'lanyard-demo-test-'));
    run = await runDemo(temporaryDir);
  });
  afterAll(() => rm(temporaryDir, { recursive: true, force: true }));

  test('ends with 0, and nothing went wrong', () => {
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    expect(run.stdout).toMatch(/All \d+ steps did what they should\.\n$/);
    expect(run.stdout).not.toContain('FAIL');
  });

  test.each([
    ['shop at the API that accepts it', "shop's own token +200"],
    ['a token of the wrong client', "shop's token +403 client_not_allowed"],
    ['a token of the right client there', 'a token of reports +200'],
    ['a token for another API', 'shop\'s token for "orders": meant for another API +401 invalid_token'],
    ['no token', 'no token +401 missing_token'],
    ['an expired token', '\\.\\.\\. and it has expired +401 invalid_token'],
    ['an app without a policy row', 'there is no policy row, so there is no token +400 invalid_target'],
    ['a disabled app', 'shop asks for a token +401 invalid_client'],
  ])('shows %s', (_, line) => {
    expect(run.stdout).toMatch(new RegExp(`^ +ok +.*${line}$`, 'm'));
  });

  test('shows the introspection answer with the client in both claims', () => {
    const document = /^ {8}\{\n[\s\S]*?^ {8}\}$/m.exec(run.stdout)?.[0] ?? '';
    expect(JSON.parse(document)).toMatchObject({ active: true, client_id: 'shop', azp: 'shop', username: 'alice' });
  });

  test('leaves nothing behind', async () => {
    expect(await readdir(temporaryDir)).toEqual([]);
  });

  test('is what docs/demo.md shows', async () => {
    const page = await readFile(join(ROOT, 'docs/demo.md'), 'utf8');
    const shown = /```\n(A throw-away Lanyard is running[\s\S]*?)```/.exec(page)?.[1] ?? '';
    expect(withoutChance(shown)).toBe(withoutChance(run.stdout));
  });
});

describe('in the middle of the demo', () => {
  const MIDDLE = 'shop gets such a token';
  let temporaryDir: string;

  beforeEach(async () => {
    temporaryDir = await mkdtemp(join(tmpdir(), 'lanyard-demo-test-'));
  });
  afterEach(() => rm(temporaryDir, { recursive: true, force: true }));

  test.each([
    ['Ctrl-C', 'SIGINT'],
    ['a closed terminal', 'SIGHUP'],
  ] as const)('%s ends it, and nothing stays behind', async (_name, signal) => {
    const { exitCode, stdout } = await runDemo(temporaryDir, {
      after: MIDDLE,
      strike: (child) => void child.kill(signal),
    });
    expect(exitCode).toBe(130);
    expect(stdout).not.toContain('did what they should');
    expect(await readdir(temporaryDir)).toEqual([]);
  });

  test('a database that dies makes it fail, say so and clean up', async () => {
    const { exitCode, stdout } = await runDemo(temporaryDir, {
      after: MIDDLE,
      strike: () => killPostgres(temporaryDir),
    });
    expect(stdout).toContain('FAIL');
    expect(stdout).toContain('The demo has failed');
    expect(exitCode).toBe(1);
    expect(await readdir(temporaryDir)).toEqual([]);
  });
});

async function killPostgres(temporaryDir: string): Promise<void> {
  const [demoDir = ''] = await readdir(temporaryDir);
  const pidFile = join(temporaryDir, demoDir, 'postgres', 'cluster', 'postmaster.pid');
  process.kill(Number.parseInt(await readFile(pidFile, 'utf8'), 10), 'SIGKILL');
}
