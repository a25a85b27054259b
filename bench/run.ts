// One run of the bench: starts the servers, takes the selected measurements, returns the results.

import { availableParallelism, cpus } from 'node:os';
import type { Cleanups } from './cleanups.ts';
import { LOAD_GENERATOR } from './load/closed-load.ts';
import { measureColdStart } from './measurements/cold-start.ts';
import { measureHalfRate } from './measurements/half-rate.ts';
import { measureManyClients } from './measurements/many-clients.ts';
import { measureMemoryUnderLoad } from './measurements/memory.ts';
import { measurePasswordHash } from './measurements/password-hash.ts';
import { measureOperation } from './measurements/rounds.ts';
import { OPERATIONS } from './operations/all.ts';
import { clientCredentialsOpaque } from './operations/client-credentials.ts';
import { introspectionOpaque } from './operations/introspection.ts';
import type { Operation } from './operations/operation.ts';
import { USER_COUNT } from './operations/sign-in.ts';
import type { Options } from './options.ts';
import type { Results } from './results.ts';
import { startBare } from './subjects/bare.ts';
import { stopAllChildren } from './subjects/child.ts';
import { createBenchDatabase } from './subjects/database.ts';
import { findForeign } from './subjects/foreign.ts';
import { startLanyard } from './subjects/lanyard.ts';
import type { Subject } from './subjects/subject.ts';

/** Further ids for `--only`, beside the operations. */
const NEED_SERVERS = ['half-rate', 'memory', 'many-clients'] as const;
const FURTHER = ['cold-start', ...NEED_SERVERS] as const;
const COLD_START_RUNS = 5;

export interface RunDeps {
  readonly options: Options;
  /** for the data of the servers */
  readonly folder: string;
  /** of a PostgreSQL that replaces the embedded one */
  readonly databaseUrl: string | undefined;
  readonly cleanups: Cleanups;
  readonly say: (text: string) => void;
}

export async function run(deps: RunDeps): Promise<Results> {
  const { options, say, folder } = deps;
  assertKnown(options.only);
  const faults: string[] = [];
  const isWanted = (id: string) => options.only.length === 0 || options.only.includes(id);
  const further = async <T>(id: (typeof FURTHER)[number], measure: () => Promise<T>): Promise<T | undefined> => {
    if (!isWanted(id) || options.foreign !== undefined) return undefined;
    say(id);
    return measure().catch((error: Error) => {
      faults.push(`${id}: ${error.message}`);
      return undefined;
    });
  };

  const startedAt = new Date().toISOString();
  // Before the other servers run, because they would slow the start down.
  const coldStart = await further('cold-start', () =>
    measureColdStart({ folder, runs: options.isQuick ? 1 : COLD_START_RUNS }),
  );
  const operations = OPERATIONS.filter(
    ({ id, measuredOn }) => isWanted(id) && (options.foreign === undefined || measuredOn.includes('foreign')),
  );
  const needsServers = operations.length > 0 || NEED_SERVERS.some(isWanted);
  const { engine, lanyard, foreign } = needsServers ? await startSubjects(deps) : ({} as Subjects);
  const subjects = [engine, lanyard, foreign].filter((subject) => subject !== undefined);
  const measurements = await measureAll(operations, subjects, deps);
  const isLoginIn = measurements.some(({ operation }) => operation === 'login');
  const both = { engine: engine as Subject, lanyard: lanyard as Subject };
  const halfRate = await further('half-rate', async () => [
    await measureHalfRate(clientCredentialsOpaque, both, options),
    await measureHalfRate(introspectionOpaque, both, options),
  ]);
  const memoryUnderLoadBytes = await further('memory', () =>
    measureMemoryUnderLoad([clientCredentialsOpaque, introspectionOpaque], both.lanyard, options),
  );
  const manyClients = await further('many-clients', () => measureManyClients(both.lanyard, options));
  const passwordHashCpuMs = isLoginIn ? await measurePasswordHash() : undefined;
  return {
    startedAt,
    machine: {
      platform: `${process.platform} ${process.arch}`,
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: availableParallelism(),
      node: process.versions.node,
    },
    loadGenerator: LOAD_GENERATOR,
    rounds: options.rounds,
    seconds: options.seconds,
    isQuick: options.isQuick,
    measurements,
    halfRate: halfRate ?? [],
    ...(manyClients && { manyClients }),
    ...(coldStart && { coldStart }),
    ...(memoryUnderLoadBytes !== undefined && { memoryUnderLoadBytes }),
    ...(passwordHashCpuMs !== undefined && { passwordHashCpuMs }),
    faults,
  };
}

function assertKnown(only: readonly string[]): void {
  const known: string[] = [...OPERATIONS.map(({ id }) => id), ...FURTHER];
  const unknown = only.filter((id) => !known.includes(id));
  if (unknown.length > 0) throw new Error(`--only: no ${unknown.join(', ')}; there are ${known.join(', ')}`);
}

interface Subjects {
  readonly engine?: Subject;
  readonly lanyard?: Subject;
  readonly foreign?: Subject;
}

/** A foreign server is measured alone. */
async function startSubjects({ options, folder, databaseUrl, cleanups }: RunDeps): Promise<Subjects> {
  if (options.foreign !== undefined) return { foreign: await findForeign(options.foreign.url, options.foreign) };
  const database = databaseUrl === undefined ? undefined : await createBenchDatabase(databaseUrl);
  if (database !== undefined) {
    cleanups.add(async () => {
      await stopAllChildren();
      await database.drop();
    });
  }
  const engine = await startBare({ folder });
  const lanyard = await startLanyard({ folder, database, userCount: USER_COUNT });
  return { engine, lanyard };
}

async function measureAll(operations: readonly Operation[], subjects: readonly Subject[], { options, say }: RunDeps) {
  const measurements = [];
  for (const operation of operations) {
    for (const connections of options.connections) {
      say(`${operation.id}, ${connections} connections`);
      measurements.push(...(await measureOperation(operation, subjects, { ...options, connections })));
    }
  }
  return measurements;
}
