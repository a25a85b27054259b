// `npm run demo`: plays the whole story against a real Lanyard with a database of its own, which is thrown away at the end,
// also after a failure or Ctrl-C. It exits with 0 only if every step did what it should.
//
// story.ts is what happens; steps.ts compares and prints; requests.ts and browser.ts speak HTTP; resource-servers.ts are the
// two APIs.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../config/config.ts';
import { startEmbeddedPostgres } from '../database/embedded/embedded-postgres.ts';
import { createLog } from '../log.ts';
import { startSingleProcess } from '../process/single-process.ts';
import type { Instance } from '../process/startup.ts';
import { createTranscript, UnexpectedOutcome } from './steps.ts';
import { type Stage, tellStory } from './story.ts';

/** What a shell reports for a program that Ctrl-C has ended. */
const INTERRUPTED_EXIT_CODE = 130;
const PORT_ATTEMPTS = 5;

type Cleanup = () => Promise<unknown>;

async function main(): Promise<number> {
  const cleanups: Cleanup[] = [];
  const interrupted = nextStopSignal();
  try {
    const stage = await startStage(cleanups);
    return await Promise.race([play(stage, cleanups), interrupted]);
  } finally {
    await cleanUp(cleanups);
  }
}

async function play(stage: Pick<Stage, 'issuer' | 'admin'>, cleanups: Cleanup[]): Promise<number> {
  const transcript = createTranscript(say);
  say(`A throw-away Lanyard is running: ${stage.issuer}`);
  try {
    await tellStory({ ...stage, transcript, onEnd: (stop) => cleanups.push(stop) });
  } catch (error) {
    if (!(error instanceof UnexpectedOutcome)) throw error;
    say(`\nThe demo has failed: ${error.message}.`);
    return 1;
  }
  say(`\nAll ${transcript.passedSteps} steps did what they should.`);
  return 0;
}

/** In reverse order, and all of them, also when one fails. */
async function cleanUp(cleanups: Cleanup[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of cleanups.splice(0).reverse()) await step().catch((error) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, 'the demo could not clean up after itself');
}

async function startStage(cleanups: Cleanup[]): Promise<Pick<Stage, 'issuer' | 'admin'>> {
  const dir = await mkdtemp(join(tmpdir(), 'lanyard-demo-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const postgres = await startEmbeddedPostgres({
    dataDir: join(dir, 'postgres'),
    // Nobody misses these data after a power cut.
    settings: { fsync: 'off', full_page_writes: 'off' },
    log: () => {},
  });
  cleanups.push(postgres.stop);

  const secretKey = randomBytes(48).toString('base64url');
  const { installation, issuer } = await onFreePort(async (port) => {
    const config = loadConfig({ LANYARD_PORT: String(port), LANYARD_LOG_LEVEL: 'error' });
    // The transcript has stdout for itself.
    const log = createLog(config.logLevel, { write: (line: string) => void process.stderr.write(line) });
    const { connectionString } = postgres;
    const installation: Instance = await startSingleProcess({ config, connectionString, secretKey, log });
    return { installation, issuer: config.issuer };
  });
  cleanups.push(installation.stop);
  return { issuer, admin: { clientId: 'lanyard-admin', clientSecret: installation.adminClientSecret ?? '' } };
}

/** The issuer names the port, so it must be known before the server listens; somebody else may take it meanwhile. */
async function onFreePort<T>(work: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(await findFreePort());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

function nextStopSignal(): Promise<number> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve(INTERRUPTED_EXIT_CODE));
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

main().then(
  // Not just the exit code: after Ctrl-C a step may still be waiting for something that is no longer there.
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    process.exit(1);
  },
);
