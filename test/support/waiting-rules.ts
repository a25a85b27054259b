// How tests wait, as rules that can be checked: with until() and eventually() of patience.ts, never
// for a fixed time.

import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Node, nodesIn, parseSources, type SourceFile } from './source-tree.ts';

const TESTS = fileURLToPath(new URL('../', import.meta.url));

/** Uses of a clock that wait for nothing, each with its reason. */
export const ALLOWED_CLOCKS: readonly { readonly use: string; readonly reason: string }[] = [
  { use: 'outbound/outbound.test.ts: setInterval', reason: 'the peer that sends a byte now and then' },
  { use: 'operations/metrics.test.ts: performance.now', reason: 'two durations are compared with each other' },
  { use: 'database/deadlines.test.ts: performance.now', reason: 'recovers within ten seconds, which is promised' },
  { use: 'operations/database-outage.test.ts: performance.now', reason: 'answers in bounded time: twenty seconds' },
  { use: 'operations/silent-cut.test.ts: performance.now', reason: 'recovers within ten seconds, which is promised' },
];

/** Every test file; `support/` is where the clock is. */
export async function readTests(): Promise<SourceFile[]> {
  const names = (await readdir(TESTS, { recursive: true })).filter((name) => /\.(test|browser)\.ts$/.test(name)).sort();
  return parseSources(
    Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(TESTS + name, 'utf8')]))),
  );
}

/** @returns `path: what`, once for each kind of use in a file */
export function clockUses(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const timers = file.imports.filter((name) => /^(node:)?timers(\/|$)/.test(name));
    const uses = [...nodesIn(file.syntax)].flatMap((node) => clockUse(node) ?? []);
    return [...new Set([...timers, ...uses])].map((use) => `${file.path}: ${use}`);
  });
}

function clockUse(node: Node): string | undefined {
  if (node.type === 'BinaryExpression') {
    const { operator, left, right } = node as unknown as { operator: string; left: Node; right: Node };
    return operator === '-' && nameOf(left.callee) === 'Date.now' && right.type === 'Identifier'
      ? 'a duration'
      : undefined;
  }
  if (node.type !== 'CallExpression') return undefined;
  const name = nameOf(node.callee);
  if (/^(global(This)?\.)?(setTimeout|setInterval)$|\.setTimeout$|^AbortSignal\.timeout$|^performance\.now$/.test(name))
    return name;
  const count = (node.arguments as unknown[]).length;
  if (/^(before|after)(All|Each)$/.test(name) && count > 1) return `${name} with a timeout of its own`;
  return /^(test|it)(\.|$)/.test(name) && count > 2 ? 'test with a timeout of its own' : undefined;
}

/** `setTimeout`, `jest.setTimeout`; `test.each` also for what `test.each([])` returns */
function nameOf(value: unknown): string {
  const node = value as Node | undefined;
  if (node?.type === 'Identifier') return String(node.value);
  if (node?.type === 'MemberExpression') return `${nameOf(node.object)}.${nameOf(node.property)}`;
  return node?.type === 'CallExpression' ? nameOf(node.callee) : '';
}
