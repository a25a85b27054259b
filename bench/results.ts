// The results of one run of the bench, as they are in the JSON file.

import type { ColdStart } from './measurements/cold-start.ts';
import type { HalfRate } from './measurements/half-rate.ts';
import type { ManyClients } from './measurements/many-clients.ts';
import type { Measurement } from './measurements/rounds.ts';

export interface Results {
  readonly startedAt: string;
  readonly machine: { readonly platform: string; readonly cpu: string; readonly cores: number; readonly node: string };
  readonly loadGenerator: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly isQuick: boolean;
  readonly measurements: readonly Measurement[];
  readonly halfRate: readonly HalfRate[];
  readonly manyClients?: ManyClients;
  readonly coldStart?: ColdStart;
  readonly memoryUnderLoadBytes?: number;
  readonly passwordHashCpuMs?: number;
  /** the errors of further measurements */
  readonly faults: readonly string[];
}

/** The ratio of Lanyard's row to that of the bare engine. */
export interface Ratio {
  readonly operation: string;
  readonly connections: number;
  readonly requestsPerSecond: number;
  /** Node and PostgreSQL together; undefined where /proc does not exist */
  readonly cpu: number | undefined;
}

/** A row with faults has none. */
export function toRatios(measurements: readonly Measurement[]): Ratio[] {
  const valid = measurements.filter(({ faults }) => faults.length === 0);
  return valid.flatMap((own) => {
    if (own.subject !== 'lanyard') return [];
    const bare = valid.find(
      ({ operation, subject, connections }) =>
        operation === own.operation && subject === 'engine' && connections === own.connections,
    );
    if (bare === undefined) return [];
    const ownUs = cpuUs(own);
    const bareUs = cpuUs(bare);
    return [
      {
        operation: own.operation,
        connections: own.connections,
        requestsPerSecond: own.requestsPerSecond / bare.requestsPerSecond,
        cpu: ownUs === undefined || bareUs === undefined ? undefined : ownUs / bareUs,
      },
    ];
  });
}

/** Node and PostgreSQL together, per request. */
export function cpuUs({ nodeCpuUs, postgresCpuUs }: Measurement): number | undefined {
  return nodeCpuUs === undefined ? undefined : nodeCpuUs + (postgresCpuUs ?? 0);
}
