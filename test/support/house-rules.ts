// The rules of the house (docs: "Imports run one way only"), each a function from the sources to the list of its breaches.

import { nodesIn, resolveImport, type SourceFile } from './source-tree.ts';

/** From the ground up: a part imports from the rows below its own, and from itself. A part is a folder or a file of src. */
export const ROWS: readonly (readonly string[])[] = [
  [
    'client-binding',
    'errors',
    'log',
    'watermark',
    'version',
    'secret-key-file',
    'config-variables',
    'config-values',
    'repeat',
    'slots',
    'start-garbage',
  ],
  ['metrics', 'config-texts'],
  ['config', 'password-hash'],
  ['database', 'http', 'guard', 'outbound'],
  ['audit'],
  ['clients', 'resource-servers', 'users', 'keys'],
  ['provider'],
  ['interaction', 'admin'],
  ['client-certificates', 'tls-listener', 'admin-door', 'door'],
  ['server', 'reaping', 'logout-delivery'],
  ['serving', 'preparation'],
  ['installation'],
  ['cluster'],
  ['main', 'cli', 'demo'],
];

/** The file that a reader of the folder opens first. */
export const MAIN_FILES: Readonly<Record<string, string>> = {
  admin: 'admin-guard.ts',
  audit: 'audit.ts',
  clients: 'register.ts',
  cluster: 'primary.ts',
  database: 'database.ts',
  demo: 'demo.ts',
  guard: 'guard.ts',
  http: 'api-route.ts',
  interaction: 'routes.ts',
  keys: 'key-ring.ts',
  metrics: 'metrics.ts',
  outbound: 'outbound.ts',
  provider: 'provider.ts',
  'resource-servers': 'policy.ts',
  users: 'accounts.ts',
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
  { path: 'cli.ts', reason: 'reads the environment, once' },
  { path: 'database/embedded-account.ts', reason: 'passes PATH on to the programs of PostgreSQL; no variable of ours' },
];

export function partOf(path: string): string {
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

/** Each file that stands in a circle of imports. */
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
  return breaches(files, (file, name) => /^oidc-provider(\/|$)/.test(name) && partOf(file.path) !== 'provider');
}

export function httpImports(files: readonly SourceFile[]): string[] {
  return breaches(files, (file, specifier) => {
    if (partOf(resolveImport(file, specifier) ?? '') !== 'http') return false;
    return !/^http\/|^server\.ts$|(^|\/)([a-z-]+-)?routes\.ts$/.test(file.path);
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
  const folders = new Set(files.filter(({ path }) => path.includes('/')).map(({ path }) => partOf(path)));
  return [...folders].filter((folder) => {
    const main = files.find(({ path }) => path === `${folder}/${MAIN_FILES[folder]}`);
    // a sentence that reaches into a second line, or ends on the first
    return main === undefined || !/^\/\/ .{40}/.test(main.text);
  });
}

function breaches(files: readonly SourceFile[], isOne: (file: SourceFile, specifier: string) => boolean): string[] {
  return files.flatMap((file) =>
    file.imports.filter((specifier) => isOne(file, specifier)).map((specifier) => `${file.path} -> ${specifier}`),
  );
}
