// The comparison: each operation on each server, in several rounds with alternating order, so that
// other load of the machine affects both. The report has the median over the rounds.

import { runRequests } from '../load/closed-load.ts';
import { runLoops } from '../load/loops.ts';
import { type LoadOptions, type LoadResult, median, percentile, type Workload } from '../load/workload.ts';
import type { Operation } from '../operations/operation.ts';
import type { Subject } from '../subjects/subject.ts';

export interface Measurement {
  readonly operation: string;
  readonly subject: Subject['name'];
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** per request; undefined where /proc does not exist */
  readonly nodeCpuUs: number | undefined;
  readonly postgresCpuUs: number | undefined;
  /** one per round, in their order */
  readonly requestsPerSecondByRound: readonly number[];
  /** why this row is invalid; empty for a valid one */
  readonly faults: readonly string[];
}

export interface RoundsOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
}

interface Round {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly nodeCpuUs: number | undefined;
  readonly postgresCpuUs: number | undefined;
  readonly faults: readonly string[];
}

export async function measureOperation(
  operation: Operation,
  subjects: readonly Subject[],
  options: RoundsOptions,
): Promise<Measurement[]> {
  const taking = subjects.filter(({ name }) => operation.measuredOn.includes(name));
  const rounds = new Map<Subject, Round[]>(taking.map((subject) => [subject, []]));
  const plan = { connections: options.connections, seconds: options.seconds };
  for (const subject of taking) await takeRound(operation, subject, { ...plan, seconds: options.seconds / 2 });
  for (let round = 0; round < options.rounds; round++) {
    for (const subject of round % 2 === 0 ? taking : taking.toReversed()) {
      rounds.get(subject)?.push(await takeRound(operation, subject, plan));
    }
  }
  return taking.map((subject) => summarize(operation, subject, options, rounds.get(subject) as Round[]));
}

async function takeRound(
  operation: Operation,
  subject: Subject,
  plan: { connections: number; seconds: number },
): Promise<Round> {
  try {
    const workload = await operation.prepare(subject, plan);
    const before = await subject.processes?.cpu();
    const result = await runWorkload(workload, { url: subject.url, ...plan });
    const after = await subject.processes?.cpu();
    const latencies = [...result.latenciesMs].sort((a, b) => a - b);
    const usPerRequest = (member: 'nodeMs' | 'postgresMs') =>
      before && after && ((after[member] - before[member]) * 1000) / result.requests;
    return {
      requestsPerSecond: (result.requests * 1000) / result.elapsedMs,
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
      nodeCpuUs: usPerRequest('nodeMs'),
      postgresCpuUs: usPerRequest('postgresMs'),
      faults: result.faults,
    };
  } catch (error) {
    const none = { requestsPerSecond: 0, p50Ms: 0, p99Ms: 0, nodeCpuUs: undefined, postgresCpuUs: undefined };
    return { ...none, faults: [(error as Error).message] };
  }
}

export function runWorkload(workload: Workload, options: LoadOptions): Promise<LoadResult> {
  return workload.kind === 'requests' ? runRequests(workload, options) : runLoops(workload, options);
}

function summarize(
  operation: Operation,
  subject: Subject,
  options: RoundsOptions,
  rounds: readonly Round[],
): Measurement {
  const medianOf = (member: 'requestsPerSecond' | 'p50Ms' | 'p99Ms') => median(rounds.map((round) => round[member]));
  const medianCpu = (member: 'nodeCpuUs' | 'postgresCpuUs') => {
    const known = rounds.map((round) => round[member]).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : median(known);
  };
  return {
    operation: operation.id,
    subject: subject.name,
    connections: options.connections,
    requestsPerSecond: medianOf('requestsPerSecond'),
    p50Ms: medianOf('p50Ms'),
    p99Ms: medianOf('p99Ms'),
    nodeCpuUs: medianCpu('nodeCpuUs'),
    postgresCpuUs: medianCpu('postgresCpuUs'),
    requestsPerSecondByRound: rounds.map((round) => round.requestsPerSecond),
    faults: [...new Set(rounds.flatMap((round) => round.faults))],
  };
}
