// The structure of src as docs/ and the headers describe it. Each rule is checked on the sources, and on a small tree that breaks it.

import { beforeAll, describe, expect, test } from '@jest/globals';
import { azpOfOnesOwn, clientIdComparisons, filesThatNameAzp } from './support/binding-rules.ts';
import {
  ALLOWED_ENV,
  ALLOWED_HTTP,
  crowdedFolders,
  engineImports,
  environmentReaders,
  filesInCycles,
  foldersWithoutHeader,
  guardImports,
  httpImports,
  importsAgainstTheRows,
  longFiles,
  longFunctions,
  MAX_FILES_AT_ROOT,
  MAX_FILES_PER_FOLDER,
  MAX_LINES,
  MAX_LINES_OF_FUNCTION,
} from './support/house-rules.ts';
import { listFiles, parseSources, readSources, type SourceFile } from './support/source-tree.ts';

let sources: SourceFile[];
beforeAll(async () => {
  sources = await readSources();
});

test('the whole of src is read', () => {
  expect(sources.length).toBeGreaterThan(80);
  expect(sources.map(({ path }) => path)).toEqual(
    expect.arrayContaining(['main.ts', 'client-binding.ts', 'guard/adapters/koa.ts']),
  );
  expect(sources.find(({ path }) => path === 'keys/store.ts')?.imports).toEqual(['jose', '../database/database.ts']);
});

describe('imports', () => {
  test('run one way only', async () => {
    expect(importsAgainstTheRows(sources)).toEqual([]);
    const upward = { 'database/a.ts': "import { b } from '../provider/engine.ts';" };
    const upwardInside = { 'provider/http/a.ts': "import { b } from '../tokens/b.ts';" };
    const sideways = { 'clients/a.ts': "import type { B } from '../users/b.ts';" };
    const leaves = { 'errors.ts': "export * from './log.ts';" };
    const outside = { 'users/a.ts': "import '../../test/support/server.ts';" };
    const lazily = { 'http/a.ts': "export const b = () => import('../server/server.ts');" };
    const asType = { 'http/a.ts': "export type B = import('../server/server.ts').Server;" };
    const homeless = { 'helpers/a.ts': '', 'config/config.ts': "import '../helpers/a.ts';" };
    for (const tree of [upward, upwardInside, sideways, leaves, outside, lazily, asType, homeless]) {
      expect(importsAgainstTheRows(await parseSources(tree))).not.toEqual([]);
    }
    const downward = { 'provider/tokens/a.ts': "import { b } from '../../users/b.ts'; import { c } from './c.ts';" };
    expect(importsAgainstTheRows(await parseSources(downward))).toEqual([]);
  });

  test('never run in a circle', async () => {
    expect(filesInCycles(sources)).toEqual([]);
    const circle = {
      'keys/a.ts': "import './b.ts';",
      'keys/b.ts': "import './c.ts';",
      'keys/c.ts': "import './b.ts';",
    };
    expect(filesInCycles(await parseSources(circle))).toEqual(['keys/b.ts', 'keys/c.ts']);
  });

  test('of the guard: jose, Node and the rule; of the rule: nothing', async () => {
    expect(guardImports(sources)).toEqual([]);
    for (const tree of [
      { 'guard/a.ts': "import Koa from 'koa';" },
      { 'guard/a.ts': "import { AppError } from '../errors.ts';" },
      { 'client-binding.ts': "import { timingSafeEqual } from 'node:crypto';" },
    ]) {
      expect(guardImports(await parseSources(tree))).toHaveLength(1);
    }
  });

  test('of the engine: the provider folder alone', async () => {
    expect(engineImports(sources)).toEqual([]);
    const bad = { 'users/a.ts': "import type { Account } from 'oidc-provider';" };
    const deep = { 'server/server.ts': "import { x } from 'oidc-provider/lib/models/client.js';" };
    expect(engineImports(await parseSources({ ...bad, ...deep }))).toHaveLength(2);
  });

  test('of http/: routes files and the server', async () => {
    const found = httpImports(sources).map((breach) => breach.split(' ')[0]);
    expect([...new Set(found)]).toEqual(ALLOWED_HTTP.map(({ path }) => path));
    const bad = { 'clients/clients.ts': "import { readJson } from '../http/body.ts';" };
    const good = { 'clients/secret-routes.ts': "import { readJson } from '../http/body.ts';" };
    expect(httpImports(await parseSources({ ...bad, ...good }))).toEqual(['clients/clients.ts -> ../http/body.ts']);
  });
});

test('the environment is read by main', async () => {
  const allowed = ALLOWED_ENV.map(({ path }) => path);
  const expected = allowed.filter((path) => sources.some((source) => source.path === path));
  expect(environmentReaders(sources).sort()).toEqual(expected.sort());
  const bad = {
    'a.ts': 'export const a = process.env.A;',
    'b.ts': "export const b = process['env'];",
    'c.ts': 'const { env } = process; export { env };',
    'd.ts': "import { env } from 'node:process'; export { env };",
    'fine.ts': 'process.exitCode = 1; export const env = {}; // process.env',
  };
  expect(environmentReaders(await parseSources(bad))).toEqual(['a.ts', 'b.ts', 'c.ts', 'd.ts']);
});

describe('one rule, one file', () => {
  test('client ids are compared in client-binding.ts alone', async () => {
    expect(clientIdComparisons(sources)).toEqual([]);
    const comparisons = [
      'token.clientId === callerClientId',
      'ctx.oidc.client?.clientId !== "x"',
      'a == token!.client_id',
      'String(claims.client_id) !== name',
      "claims['client_id'] === name",
      '(claims.azp as string) === name',
      'allowedClientIds.includes(name)',
      'allowed.includes(token.clientId)',
      'new Set(ids).has(clientId)',
      'Object.is(clientId, name)',
      'boundClientId(claims) === name',
      'timingSafeEqual(Buffer.from(clientId), name)',
    ];
    for (const comparison of comparisons) {
      expect(clientIdComparisons(await parseSources({ 'a.ts': `export const isOwn = ${comparison};` }))).toHaveLength(
        1,
      );
    }
    const choice = { 'a.ts': 'switch (clientId) { case "x": break; }' };
    expect(clientIdComparisons(await parseSources(choice))).toHaveLength(1);
    const fine = {
      'a.ts': 'export const a = clientId === undefined || client.name === "x" || mayRevoke(a, b.clientId);',
    };
    expect(clientIdComparisons(await parseSources(fine))).toEqual([]);
    const rule = { 'client-binding.ts': 'export const isOwn = a.clientId === b.clientId;' };
    expect(clientIdComparisons(await parseSources(rule))).toEqual([]);
  });

  test('azp is made in client-binding.ts alone; other files copy it to or from the engine', async () => {
    expect(azpOfOnesOwn(sources)).toEqual([]);
    // What the hooks write, what introspection passes to the rule, the type of a verified JWT.
    expect(filesThatNameAzp(sources)).toEqual([
      'provider/tokens/binding-hooks.ts',
      'provider/tokens/introspection.ts',
      'provider/tokens/jwt-access-tokens.ts',
    ]);
    const ownValues = [
      'const claims = { azp: token.clientId };',
      'claims.azp = "x";',
      'token.set("azp", clientId);',
      'const { azp } = claims;',
      'const claims = { "azp": "x" };',
      'delete claims["azp"]; const name = "azp";',
      'const azp = clientId; const claims = { azp };',
    ];
    for (const text of ownValues) expect(azpOfOnesOwn(await parseSources({ 'a.ts': text }))).not.toEqual([]);
    const copies = 'token.set("azp", binding.azp); ask({ client_id: a, azp: token.extra?.azp });';
    expect(azpOfOnesOwn(await parseSources({ 'a.ts': copies }))).toEqual([]);
    expect(filesThatNameAzp(await parseSources({ 'a.ts': copies, 'b.ts': '// azp' }))).toEqual(['a.ts']);
  });
});

test(`no file has more than ${MAX_LINES} lines`, async () => {
  expect(longFiles(sources)).toEqual([]);
  const tree = { 'a.ts': 'f();\n'.repeat(MAX_LINES), 'b.ts': 'f();\n'.repeat(MAX_LINES + 1) };
  expect(longFiles(await parseSources(tree))).toEqual([`b.ts: ${MAX_LINES + 1} lines`]);
});

test('no folder has more files than one can look through', async () => {
  const paths = await listFiles();
  // Not only sources: templates too.
  expect(paths).toEqual(expect.arrayContaining(['start.mjs', 'main.ts', 'interaction/views/style.css']));
  expect(crowdedFolders(paths)).toEqual([]);
  const names = (folder: string, count: number) => Array.from({ length: count }, (_, n) => `${folder}${n}.ts`);
  const tree = [...names('keys/', MAX_FILES_PER_FOLDER + 1), ...names('', MAX_FILES_AT_ROOT + 1)];
  expect(crowdedFolders(tree)).toEqual(['keys: 16 files', '.: 9 files']);
});

test(`no function has more than ${MAX_LINES_OF_FUNCTION} lines`, async () => {
  expect(longFunctions(sources)).toEqual([]);
  const long = (lines: number) => `// é\n\nexport const f = () => {\n${'g();\n'.repeat(lines - 2)}};\n`;
  const tree = { 'a.ts': long(MAX_LINES_OF_FUNCTION), 'b.ts': long(MAX_LINES_OF_FUNCTION + 1) };
  expect(longFunctions(await parseSources(tree))).toEqual([`b.ts:3: ${MAX_LINES_OF_FUNCTION + 1} lines`]);
});

test('the main file of every folder says what the folder is', async () => {
  expect(foldersWithoutHeader(sources)).toEqual([]);
  const silent = { 'keys/key-ring.ts': 'export {};' };
  const unknown = { 'helpers/a.ts': '// A file that is explained, in a folder that has no main file.' };
  expect(foldersWithoutHeader(await parseSources({ ...silent, ...unknown }))).toEqual(['keys', 'helpers']);
});
