// The sources as the architecture test sees them: each file parsed, with what it imports. A synthetic tree serves as well.

import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from '@swc/core';

export interface Node {
  readonly type: string;
  readonly [member: string]: unknown;
}

export interface SourceFile {
  /** below src, e.g. `keys/seal.ts` */
  readonly path: string;
  readonly text: string;
  readonly syntax: Node;
  /** each name as it is written, types included */
  readonly imports: readonly string[];
}

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** @returns paths below src, whatever the files are */
export async function listFiles(): Promise<string[]> {
  const entries = await readdir(SRC, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => posix.relative(SRC, posix.join(parentPath, name)));
}

export async function readSources(): Promise<SourceFile[]> {
  const names = (await listFiles()).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts')).sort();
  return parseSources(
    Object.fromEntries(await Promise.all(names.map(async (n) => [n, await readFile(SRC + n, 'utf8')]))),
  );
}

/** @param texts by path below src */
export function parseSources(texts: Record<string, string>): Promise<SourceFile[]> {
  return Promise.all(
    Object.entries(texts).map(async ([path, text]) => {
      const syntax = (await parse(text, { syntax: 'typescript', target: 'es2023' })) as unknown as Node;
      return { path, text, syntax, imports: importsOf(syntax) };
    }),
  );
}

/** The path below src that a relative import of this file names. */
export function resolveImport(file: SourceFile, specifier: string): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : undefined;
}

/** Every node below this one, itself included. */
export function* nodesIn(value: unknown): Generator<Node> {
  if (Array.isArray(value)) {
    for (const item of value) yield* nodesIn(item);
  } else if (value !== null && typeof value === 'object') {
    if (typeof (value as Node).type === 'string') yield value as Node;
    for (const member of Object.values(value)) yield* nodesIn(member);
  }
}

function importsOf(syntax: Node): string[] {
  const names: string[] = [];
  for (const node of nodesIn(syntax)) {
    const source = node.source as Node | null | undefined;
    if (source?.type === 'StringLiteral') names.push(String(source.value));
    if (node.type === 'CallExpression' && (node.callee as Node).type === 'Import') {
      const [argument] = node.arguments as { expression: Node }[];
      if (argument?.expression.type === 'StringLiteral') names.push(String(argument.expression.value));
    }
    // import('./x.ts').T as a type
    if (node.type === 'TsImportType') names.push(String((node.argument as Node).value));
  }
  return names;
}
