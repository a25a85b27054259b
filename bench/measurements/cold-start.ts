// The time from `npm start` to the first token, with the embedded database, on an empty folder and
// on existing data. The phases are seen from outside, by the files that appear, so that the server
// runs as usual.

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from '../load/workload.ts';
import { findFreePort } from '../subjects/child.ts';
import { fetchAdminToken, launchLanyard } from '../subjects/lanyard.ts';
import { watchProcesses } from '../subjects/processes.ts';

/** In milliseconds from the launch. */
export interface Start {
  /** modules imported and configuration read; undefined on existing data, where no file shows it */
  readonly importedMs: number | undefined;
  /** initdb has ended; undefined on existing data */
  readonly clusterMs: number | undefined;
  /** PostgreSQL accepts connections */
  readonly databaseMs: number | undefined;
  /** migrations, keys and the first admin client are done, and the server listens */
  readonly listeningMs: number;
  readonly tokenMs: number;
  /** one second after the token; undefined where /proc does not exist */
  readonly idleBytes: number | undefined;
}

export interface ColdStart {
  readonly first: Start;
  readonly existing: Start;
}

const POLL_MS = 2;
const SETTLE_MS = 1_000;

/** @returns medians over the runs, for both kinds of start */
export async function measureColdStart(options: { folder: string; runs: number }): Promise<ColdStart> {
  const first: Start[] = [];
  const existing: Start[] = [];
  for (let run = 0; run < options.runs; run++) {
    // The port is part of the issuer, which must not change from one start to the next.
    const port = await findFreePort();
    const home = await mkdtemp(join(options.folder, 'start-'));
    first.push(await startOnce(home, port));
    existing.push(await startOnce(home, port));
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  }
  return { first: medians(first), existing: medians(existing) };
}

async function startOnce(home: string, port: number): Promise<Start> {
  const postgresDir = join(home, 'data', 'postgres');
  const isFirst = !(await exists(postgresDir));
  const startedAt = performance.now();
  const sinceStart = () => performance.now() - startedAt;
  const watch = new AbortController();
  const when = async (isThere: () => Promise<boolean>) => {
    while (!watch.signal.aborted) {
      if (await isThere()) return sinceStart();
      await sleep(POLL_MS);
    }
    return undefined;
  };
  const importedMs = isFirst ? when(() => exists(postgresDir)) : undefined;
  const clusterMs = isFirst ? when(() => exists(join(postgresDir, 'cluster'))) : undefined;
  const databaseMs = when(() => isReady(join(postgresDir, 'cluster', 'postmaster.pid')));
  try {
    const { child, url } = await launchLanyard(home, {}, port);
    try {
      const listeningMs = sinceStart();
      await fetchAdminToken(url);
      const tokenMs = sinceStart();
      await sleep(SETTLE_MS);
      watch.abort();
      return {
        importedMs: await importedMs,
        clusterMs: await clusterMs,
        databaseMs: await databaseMs,
        listeningMs,
        tokenMs,
        idleBytes: await watchProcesses(child.pid).residentBytes(),
      };
    } finally {
      await child.stop();
    }
  } finally {
    watch.abort();
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** PostgreSQL writes its state into the last line of its pid file. */
async function isReady(pidFile: string): Promise<boolean> {
  const text = await readFile(pidFile, 'utf8').catch(() => '');
  return text.split('\n')[7]?.trim() === 'ready';
}

function medians(starts: readonly Start[]): Start {
  const of = (member: keyof Start) => {
    const known = starts.map((start) => start[member]).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : median(known);
  };
  return {
    importedMs: of('importedMs'),
    clusterMs: of('clusterMs'),
    databaseMs: of('databaseMs'),
    listeningMs: of('listeningMs') as number,
    tokenMs: of('tokenMs') as number,
    idleBytes: of('idleBytes'),
  };
}
