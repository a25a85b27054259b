// The table at the end, in Markdown.

import type { Breach, Ledger } from './ledger.ts';

const BREACHES: readonly Breach[] = ['lost', 'doubled', 'granted', 'failed'];

export function report({ tallies, violations, statuses }: Ledger): string {
  const rows = [...tallies].map(([fault, { rounds, acknowledged, siblings, worstRecoverySeconds }]) => {
    const counts = BREACHES.map((breach) =>
      count(
        violations.filter((one) => one.fault === fault),
        breach,
      ),
    );
    return [fault, rounds, acknowledged, siblings, ...counts, worstRecoverySeconds.toFixed(1)];
  });
  const sums = [1, 2, 3].map((column) => rows.reduce((sum, row) => sum + Number(row[column]), 0));
  const worst = Math.max(0, ...[...tallies.values()].map((tally) => tally.worstRecoverySeconds));
  const all = ['all', ...sums, ...BREACHES.map((breach) => count(violations, breach)), worst.toFixed(1)];
  const head = ['fault', 'rounds', 'acknowledged', 'siblings', ...BREACHES, 'worst recovery, s'];
  const answers = [...statuses].sort().map(([status, times]) => `${status}: ${times}`);
  return `${table([head, ...rows, all])}\nanswers: ${answers.join(', ')}\n`;
}

function count(violations: Ledger['violations'], breach: Breach): number {
  return violations.filter((one) => one.breach === breach).length;
}

export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const pad = (cell: string | number, column: number) => {
    const width = widths[column] ?? 0;
    return column === 0 ? String(cell).padEnd(width) : String(cell).padStart(width);
  };
  const [head = [], ...body] = rows.map((row) => line(row.map(pad)));
  const rule = line(widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  return [head, rule, ...body, ''].join('\n');
}
