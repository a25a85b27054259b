// The measurements as Markdown tables.

import type { Measurement } from '../measurements/rounds.ts';
import { OPERATIONS } from '../operations/all.ts';
import type { Operation } from '../operations/operation.ts';
import { toRatios } from '../results.ts';

const HEAD = [
  'operation',
  'conn.',
  'server',
  'req/s',
  'p50 ms',
  'p99 ms',
  'Node µs',
  'PostgreSQL µs',
  'ratio',
  'CPU ratio',
];

export function comparisonTable(measurements: readonly Measurement[]): string {
  const ratios = toRatios(measurements);
  const rows = measurements.map((row) => {
    const { title } = OPERATIONS.find(({ id }) => id === row.operation) ?? { title: row.operation };
    const remarkIndex = remarked(measurements).findIndex(({ id }) => id === row.operation);
    const name = [remarkIndex === -1 ? title : `${title} ${mark(remarkIndex)}`, String(row.connections), row.subject];
    if (row.faults.length > 0) return [...name, 'void'];
    const ratio = ratios.find(
      (one) => row.subject === 'lanyard' && one.operation === row.operation && one.connections === row.connections,
    );
    return [
      ...name,
      row.requestsPerSecond.toFixed(0),
      row.p50Ms.toFixed(1),
      row.p99Ms.toFixed(1),
      row.nodeCpuUs?.toFixed(0) ?? '-',
      row.subject === 'engine' ? '' : (row.postgresCpuUs?.toFixed(0) ?? '-'),
      ratio?.requestsPerSecond.toFixed(2) ?? '',
      ratio?.cpu?.toFixed(2) ?? '',
    ];
  });
  const remarks = remarked(measurements).map((operation, index) => `${mark(index)} ${operation.remark}`);
  return [markdownTable(HEAD, rows), ...remarks].join('\n\n');
}

function remarked(measurements: readonly Measurement[]): Operation[] {
  return OPERATIONS.filter(
    ({ id, remark }) => remark !== undefined && measurements.some((row) => row.operation === id),
  );
}

function mark(index: number): string {
  return `(${index + 1})`;
}

/** Why rows are invalid, one line each. */
export function voidReasons(measurements: readonly Measurement[]): string[] {
  return measurements
    .filter(({ faults }) => faults.length > 0)
    .map((row) => `${row.operation}, ${row.connections} connections, ${row.subject}: ${row.faults.join('; ')}`);
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}
