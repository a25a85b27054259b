// The rules of the source tree (docs: "Imports run one way only"), each a function from the sources to the list of its breaches.

import { posix } from 'node:path';
import { type Node, nodesIn, resolveImport, type SourceFile } from './source-tree.ts';

/**
 * From the ground up: a part imports from the rows below its own, and from itself. A part is a folder or a file of src, and
 * inside `provider` each of its folders and files.
 */
export const ROWS: readonly (readonly string[])[] = [
  ['output'],
  ['client-binding', 'errors', 'log', 'not-before', 'periodic-task', 'config', 'input'],
  ['metrics', 'outbound', 'account'],
  ['password-hash', 'database', 'guard'],
  ['http'],
  ['audit'],
  ['clients', 'resource-servers', 'users', 'keys'],
  ['provider/routes', 'provider/engine-types'],
  ['provider/engine-internals'],
  ['provider/http', 'provider/storage', 'provider/engine-steps', 'provider/engine-authorization'],
  ['provider/policy', 'pruning'],
  ['provider/clients', 'provider/logout'],
  ['provider/tokens', 'provider/engine-probe'],
  ['provider/grants'],
  ['provider/configuration', 'provider/fast-path', 'provider/events'],
  ['provider/engine-parts'],
  ['provider/engine'],
  ['interaction', 'admin'],
  ['server'],
  ['process'],
  ['main', 'demo'],
];

/** The file that a reader of the folder opens first. */
export const MAIN_FILES: Readonly<Record<string, string>> = {
  account: 'account.ts',
  admin: 'admin-api.ts',
  audit: 'audit.ts',
  clients: 'clients.ts',
  'clients/registration': 'self-registration.ts',
  config: 'config.ts',
  database: 'database.ts',
  'database/embedded': 'embedded-postgres.ts',
  demo: 'demo.ts',
  guard: 'guard.ts',
  'guard/adapters': 'koa.ts',
  'guard/proof-of-possession': 'sender-constraint.ts',
  http: 'request-prelude.ts',
  input: 'shape.ts',
  interaction: 'routes.ts',
  keys: 'key-ring.ts',
  metrics: 'metrics.ts',
  outbound: 'outbound.ts',
  output: 'output.ts',
  process: 'server-process.ts',
  provider: 'engine.ts',
  'provider/clients': 'client-adapter.ts',
  'provider/configuration': 'configuration.ts',
  'provider/fast-path': 'fast-path.ts',
  'provider/grants': 'grant.ts',
  'provider/http': 'exact-paths.ts',
  'provider/logout': 'sessions.ts',
  'provider/policy': 'directory.ts',
  'provider/storage': 'artifact-store.ts',
  'provider/tokens': 'model-adapter.ts',
  pruning: 'pruning.ts',
  'resource-servers': 'resource-servers.ts',
  server: 'server.ts',
  users: 'users.ts',
};

/** 150 lines are normal, 250 are a question, 400 are a fault. */
export const MAX_LINES = 250;

export interface Allowance {
  readonly path: string;
  readonly reason: string;
}

/** What a rule does not count, with the reason. The test also fails when one of them is needed no more. */
export const ALLOWED_HTTP: readonly Allowance[] = [
  {
    path: 'admin/openapi.ts',
    reason: 'describes the values of which the routes.ts files consist; imports their type alone',
  },
];
export const ALLOWED_ENV: readonly Allowance[] = [
  { path: 'main.ts', reason: 'reads the environment, once' },
  { path: 'database/embedded/spawn.ts', reason: 'passes PATH on to the programs of PostgreSQL; no variable of ours' },
];

export const MAX_FILES_PER_FOLDER = 15;
export const MAX_FILES_AT_ROOT = 8;
export const MAX_LINES_OF_FUNCTION = 60;

/** `keys`, `main`, `provider/tokens`, `provider/engine` */
export function partOf(path: string): string {
  const [first, second] = path.replace(/\.ts$/, '').split('/') as [string, string?];
  return first === 'provider' ? `${first}/${second}` : first;
}

function topOf(path: string): string {
  return (path.split('/')[0] as string).replace(/\.ts$/, '');
}

export function importsAgainstTheRows(files: readonly SourceFile[]): string[] {
  const rowOf = (part: string) => ROWS.findIndex((row) => row.includes(part));
  return files.flatMap((file) => {
    const own = partOf(file.path);
    if (rowOf(own) === -1) return [`${file.path} has no row`];
    return file.imports.flatMap((specifier) => {
      const target = resolveImport(file, specifier);
      if (target === undefined || partOf(target) === own) return [];
      if (target.startsWith('..')) return [`${file.path} leaves src: ${specifier}`];
      return rowOf(partOf(target)) < rowOf(own) && rowOf(partOf(target)) !== -1 ? [] : [`${file.path} -> ${target}`];
    });
  });
}

/** Each file that is part of a circle of imports. */
export function filesInCycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map((file) => [file.path, file.imports.map((name) => resolveImport(file, name))]));
  const reaches = (from: string, to: string) => {
    const seen = new Set<string>();
    const queue = [from];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      for (const target of targets.get(next) ?? []) {
        if (target === to) return true;
        if (target !== undefined && !seen.has(target)) queue.push(target);
        if (target !== undefined) seen.add(target);
      }
    }
    return false;
  };
  return files.map((file) => file.path).filter((path) => reaches(path, path));
}

/** The guard is used by other people's servers: jose and the rule are all it may bring along. */
export function guardImports(files: readonly SourceFile[]): string[] {
  const isOurs = (target: string) => target.startsWith('guard/') || target === 'client-binding.ts';
  return breaches(files, (file, specifier) => {
    if (partOf(file.path) === 'client-binding') return true;
    if (partOf(file.path) !== 'guard') return false;
    const target = resolveImport(file, specifier);
    return target === undefined ? !/^(jose|node:.*)$/.test(specifier) : !isOurs(target);
  });
}

export function engineImports(files: readonly SourceFile[]): string[] {
  return breaches(files, (file, name) => /^oidc-provider(\/|$)/.test(name) && topOf(file.path) !== 'provider');
}

export function httpImports(files: readonly SourceFile[]): string[] {
  return breaches(files, (file, specifier) => {
    if (partOf(resolveImport(file, specifier) ?? '') !== 'http') return false;
    return !/^http\/|^server\/server\.ts$|(^|\/)([a-z-]+-)?routes\.ts$/.test(file.path);
  });
}

/** Files that can read the environment, in whatever way. */
export function environmentReaders(files: readonly SourceFile[]): string[] {
  const reads = (file: SourceFile) =>
    file.imports.some((name) => /^(node:)?process$/.test(name)) ||
    [...nodesIn(file.syntax)].some((node) => {
      const of = (node.object ?? node.init) as { type?: string; value?: string } | undefined;
      if (of?.type !== 'Identifier' || of.value !== 'process') return false;
      if (node.type === 'VariableDeclarator') return true;
      const property = node.property as { type: string; value?: string };
      return property.type === 'Computed' || property.value === 'env';
    });
  return files.filter(reads).map((file) => file.path);
}

export function longFiles(files: readonly SourceFile[]): string[] {
  return files
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => `${path}: ${lines} lines`);
}

/** Folders that nothing explains. */
export function foldersWithoutHeader(files: readonly SourceFile[]): string[] {
  const folders = new Set(files.map(({ path }) => folderOf(path)).filter((folder) => folder !== '.'));
  return [...folders].filter((folder) => {
    const main = files.find(({ path }) => path === `${folder}/${MAIN_FILES[folder]}`);
    // a sentence that reaches into a second line, or ends on the first
    return main === undefined || !/^\/\/ .{40}/.test(main.text);
  });
}

/** Too many to find one in. */
export function crowdedFolders(paths: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const path of paths) {
    counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
  }
  return [...counts]
    .filter(([folder, count]) => count > (folder === '.' ? MAX_FILES_AT_ROOT : MAX_FILES_PER_FOLDER))
    .map(([folder, count]) => `${folder}: ${count} files`);
}

const FUNCTIONS = [
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'ClassMethod',
  'MethodProperty',
];

/** A function fits a screen. A handler is a function of `(deps, input)`; what makes routes only wires them. */
export function longFunctions(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const lineAt = lineFinder(file);
    return [...nodesIn(file.syntax)]
      .filter(({ type }) => FUNCTIONS.includes(type))
      .map((node) => {
        const { start, end } = (node.span ?? (node.function as Node).span) as { start: number; end: number };
        return { line: lineAt(start), lines: lineAt(end - 1) - lineAt(start) + 1 };
      })
      .filter(({ lines }) => lines > MAX_LINES_OF_FUNCTION)
      .map(({ line, lines }) => `${file.path}:${line}: ${lines} lines`);
  });
}

/** swc counts bytes, from 1. */
function lineFinder({ text }: SourceFile): (position: number) => number {
  const bytes = Buffer.from(text);
  return (position) => bytes.subarray(0, position - 1).filter((byte) => byte === 10).length + 1;
}

function folderOf(path: string): string {
  return posix.dirname(path);
}

function breaches(files: readonly SourceFile[], isOne: (file: SourceFile, specifier: string) => boolean): string[] {
  return files.flatMap((file) =>
    file.imports.filter((specifier) => isOne(file, specifier)).map((specifier) => `${file.path} -> ${specifier}`),
  );
}
