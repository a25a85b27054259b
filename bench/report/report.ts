// The report: the comparison, the further measurements, the targets.

import { cpuUs, type Results } from '../results.ts';
import { TARGETS, type Target } from '../targets.ts';
import { comparisonTable, markdownTable, voidReasons } from './table.ts';

const MEGABYTE = 1024 * 1024;

export function report(results: Results): string {
  const { machine, rounds, seconds } = results;
  const isForeign = results.measurements.some(({ subject }) => subject === 'foreign');
  const sections = [
    `${isForeign ? 'A foreign server' : 'Lanyard against the bare engine'}, Node ${machine.node}, ` +
      `${machine.cores} × ${machine.cpu}, medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'} of ${seconds} s, load by ${results.loadGenerator}.`,
    results.measurements.length > 0 ? comparisonTable(results.measurements) : '',
    loginWithoutHash(results),
    halfRateTable(results),
    manyClientsLine(results),
    coldStartTable(results),
    memoryLine(results),
    isForeign ? '' : targetsTable(results),
    list('Void', voidReasons(results.measurements)),
    list('Failed', results.faults),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

function loginWithoutHash({ measurements, passwordHashCpuMs }: Results): string {
  if (passwordHashCpuMs === undefined) return '';
  const lines = measurements.flatMap((row) => {
    const used = row.operation === 'login' && row.subject === 'lanyard' ? cpuUs(row) : undefined;
    const bare = measurements.find(
      (one) => one.operation === 'login' && one.subject === 'engine' && one.connections === row.connections,
    );
    const bareUs = bare && cpuUs(bare);
    if (used === undefined || bareUs === undefined || row.faults.length > 0) return [];
    const rest = used - passwordHashCpuMs * 1000;
    return [
      `Login, ${row.connections} connections: ${(used / 1000).toFixed(1)} ms of CPU, the password hash alone ` +
        `${passwordHashCpuMs.toFixed(1)} ms; the rest is ${(rest / bareUs).toFixed(2)} times the bare engine's.`,
    ];
  });
  return lines.join('\n');
}

function halfRateTable({ halfRate }: Results): string {
  if (halfRate.length === 0) return '';
  const rows = halfRate.map((one) => [
    one.operation,
    one.requestsPerSecond.toFixed(0),
    one.engineP99Ms.toFixed(2),
    one.lanyardP99Ms.toFixed(2),
    (one.lanyardP99Ms / one.engineP99Ms).toFixed(2),
  ]);
  return markdownTable(['at half the maximal rate', 'req/s', 'engine p99 ms', 'lanyard p99 ms', 'ratio'], rows);
}

function manyClientsLine({ manyClients }: Results): string {
  const { clientCount, oneClientCpuUs: one, manyClientsCpuUs: many } = manyClients ?? {};
  if (one === undefined || many === undefined) return '';
  return (
    `CPU per token, ${clientCount} clients in use: ${many.toFixed(0)} µs, ` +
    `one client: ${one.toFixed(0)} µs, ${(many / one).toFixed(2)} times.`
  );
}

function coldStartTable({ coldStart }: Results): string {
  if (coldStart === undefined) return '';
  const rows = (['first', 'existing'] as const).map((sort) => {
    const start = coldStart[sort];
    const cell = (ms: number | undefined) => (ms === undefined ? '' : ms.toFixed(0));
    return [
      sort === 'first' ? 'first start' : 'existing data',
      cell(start.importedMs),
      cell(start.clusterMs),
      cell(start.databaseMs),
      cell(start.listeningMs),
      cell(start.tokenMs),
    ];
  });
  const head = ['cold start, ms since launch', 'imported', 'initdb done', 'PostgreSQL ready', 'running', 'first token'];
  return markdownTable(head, rows);
}

function memoryLine({ coldStart, memoryUnderLoadBytes }: Results): string {
  const megabytes = (bytes: number) => `${(bytes / MEGABYTE).toFixed(0)} MB`;
  const idle = coldStart?.existing.idleBytes;
  const parts = [
    idle === undefined ? '' : `idle ${megabytes(idle)}`,
    memoryUnderLoadBytes === undefined ? '' : `under load ${megabytes(memoryUnderLoadBytes)}`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? '' : `Resident memory of the Node process: ${parts.join(', ')}.`;
}

function targetsTable(results: Results): string {
  const rows = TARGETS.map((target) => {
    const value = target.value(results);
    return [target.text, limitOf(target), value === undefined ? '' : format(value, target), verdict(target, value)];
  });
  return markdownTable(['target', 'limit', 'measured', ''], rows);
}

export function verdict({ atLeast, atMost }: Target, value: number | undefined): 'met' | 'missed' | 'not measured' {
  if (value === undefined || Number.isNaN(value)) return 'not measured';
  const isMet = (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
  return isMet ? 'met' : 'missed';
}

function limitOf(target: Target): string {
  const { atLeast, atMost } = target;
  return atLeast === undefined ? `<= ${format(atMost as number, target)}` : `>= ${format(atLeast, target)}`;
}

function format(value: number, { unit }: Target): string {
  return unit === '' ? value.toFixed(2) : `${value.toFixed(0)} ${unit}`;
}

function list(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${title}:\n${lines.map((line) => `- ${line}`).join('\n')}`;
}
