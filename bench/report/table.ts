// The report as people read it: Markdown.

import type { Measurement } from '../measurements/rounds.ts';
import { OPERATIONS } from '../operations/all.ts';

/** Of Lanyard's row to that of the bare engine. */
export interface Ratio {
  readonly operation: string;
  readonly connections: number;
  readonly requestsPerSecond: number;
  /** Node and PostgreSQL together; undefined where the system does not tell */
  readonly cpu: number | undefined;
}

export function toRatios(measurements: readonly Measurement[]): Ratio[] {
  return measurements
    .filter(({ subject }) => subject === 'lanyard')
    .flatMap((own) => {
      const { comparedWith = own.operation } = OPERATIONS.find(({ id }) => id === own.operation) ?? {};
      const bare = measurements.find(
        ({ operation, subject, connections }) =>
          operation === comparedWith && subject === 'engine' && connections === own.connections,
      );
      if (bare === undefined || bare.faults.length > 0 || own.faults.length > 0) return [];
      const cpu = own.nodeCpuUs === undefined || bare.nodeCpuUs === undefined ? undefined : cpuUs(own) / cpuUs(bare);
      return [
        {
          operation: own.operation,
          connections: own.connections,
          requestsPerSecond: own.requestsPerSecond / bare.requestsPerSecond,
          cpu,
        },
      ];
    });
}

export function cpuUs({ nodeCpuUs = 0, postgresCpuUs = 0 }: Measurement): number {
  return nodeCpuUs + postgresCpuUs;
}

export function comparisonTable(measurements: readonly Measurement[]): string {
  const ratios = toRatios(measurements);
  const rows = measurements.map((row) => {
    const { title, comparedWith } = OPERATIONS.find(({ id }) => id === row.operation) ?? { title: row.operation };
    const name = [title, String(row.connections), row.subject];
    if (row.faults.length > 0) return [...name, 'void', row.faults.join('; '), '', '', '', '', ''];
    const ratio = ratios.find(
      (one) => row.subject === 'lanyard' && one.operation === row.operation && one.connections === row.connections,
    );
    const mark = ratio !== undefined && comparedWith !== undefined ? ' *' : '';
    return [
      ...name,
      row.requestsPerSecond.toFixed(0),
      row.p50Ms.toFixed(1),
      row.p99Ms.toFixed(1),
      row.nodeCpuUs?.toFixed(0) ?? '-',
      row.subject === 'engine' ? '' : (row.postgresCpuUs?.toFixed(0) ?? '-'),
      ratio === undefined ? '' : `${ratio.requestsPerSecond.toFixed(2)}${mark}`,
      ratio?.cpu === undefined ? '' : ratio.cpu.toFixed(2),
    ];
  });
  return markdownTable(
    [
      'operation',
      'connections',
      'server',
      'req/s',
      'p50 ms',
      'p99 ms',
      'Node µs',
      'PostgreSQL µs',
      'ratio',
      'CPU ratio',
    ],
    rows,
  );
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => (cells[column] ?? '').replaceAll('|', '/').padEnd(width)).join(' | ')} |`;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}
