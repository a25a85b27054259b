// `npm run demo`: plays a whole story against a real Lanyard with a database of its own, which is removed at the end, also after a
// failure or Ctrl-C. It exits with 0 only if every step did what it should. This folder owns the story and everything in it; no
// other folder uses it.
//
// story.ts is what happens; steps.ts compares and prints; requests.ts and browser.ts speak HTTP; resource-servers.ts are the
// two APIs; fixtures.ts registers them, the apps and the user.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../config/config.ts';
import { startEmbeddedPostgres } from '../database/embedded/embedded-postgres.ts';
import { createLog } from '../log.ts';
import { startSingleProcess } from '../process/single-process.ts';
import { listenForStop } from '../process/stop-request.ts';
import { createTranscript, UnexpectedOutcome } from './steps.ts';
import { type Stage, tellStory } from './story.ts';

/** What a shell reports for a program that Ctrl-C has ended. */
const INTERRUPTED_EXIT_CODE = 130;
const PORT_ATTEMPTS = 5;

async function main(): Promise<number> {
  // The reader of the transcript may be gone, as a closed terminal is: the demo cleans up all the same.
  process.stdout.on('error', () => {});
  const stopSignal = listenForStop();
  const interrupted = once(stopSignal, 'abort').then(() => INTERRUPTED_EXIT_CODE);
  await using cleanUps = new AsyncDisposableStack();
  const server = await startServer(cleanUps);
  return await Promise.race([play({ ...server, cleanUps }), interrupted]);
}

async function play(stage: Omit<Stage, 'transcript'>): Promise<number> {
  const transcript = createTranscript(say);
  say(`A throw-away Lanyard is running: ${stage.issuer}`);
  try {
    await tellStory({ ...stage, transcript });
  } catch (error) {
    if (!(error instanceof UnexpectedOutcome)) throw error;
    say(`\nThe demo has failed: ${error.message}.`);
    return 1;
  }
  say(`\nAll ${transcript.passedSteps} steps did what they should.`);
  return 0;
}

/** @param cleanUps receives what ends it and removes its data */
async function startServer(cleanUps: AsyncDisposableStack): Promise<Pick<Stage, 'issuer' | 'admin'>> {
  const dir = await mkdtemp(join(tmpdir(), 'lanyard-demo-'));
  cleanUps.defer(() => rm(dir, { recursive: true, force: true }));
  const postgres = await startEmbeddedPostgres({
    dataDir: join(dir, 'postgres'),
    // These data need not survive a power cut.
    settings: { fsync: 'off', full_page_writes: 'off' },
    log: () => {},
  });
  cleanUps.defer(postgres.stop);

  const secretKey = randomBytes(48).toString('base64url');
  const { instance, issuer } = await onFreePort(async (port) => {
    const config = loadConfig({ LANYARD_PORT: String(port), LANYARD_LOG_LEVEL: 'error' });
    // stdout is for the transcript alone.
    const log = createLog(config.logLevel, { write: (line: string) => void process.stderr.write(line) });
    const { connectionString } = postgres;
    const instance = await startSingleProcess({ config, connectionString, secretKey, log });
    return { instance, issuer: config.issuer };
  });
  cleanUps.defer(instance.stop);
  return { issuer, admin: { clientId: 'lanyard-admin', clientSecret: instance.adminClientSecret ?? '' } };
}

/** The issuer names the port, so it must be known before the server listens; another process may take it meanwhile. */
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

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

main().then(
  // Not only the exit code: after Ctrl-C a step may still wait for an answer that will not come.
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    process.exit(1);
  },
);
