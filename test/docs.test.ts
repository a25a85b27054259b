// What can be said of README.md and docs/ without running them; test/browser/docs.browser.ts runs their commands.

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { AUDIT_EVENT_TYPES } from '../src/audit/audit.ts';
import { blocksOf, pagesOf, ROOT } from './support/shell-blocks.ts';

const read = (path: string) => readFile(join(ROOT, path), 'utf8');

/** Of the repository, apart from what belongs to packages. */
async function markdownFiles(): Promise<string[]> {
  const folders = ['.', 'docs', 'docs/decisions', 'bench', 'bench/growth', 'integrations'];
  const names = await Promise.all(
    folders.map(async (folder) => (await readdir(join(ROOT, folder))).map((name) => join(folder, name))),
  );
  return names.flat().filter((name) => name.endsWith('.md'));
}

/** The fragment that a heading gets on the pages of a forge. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/ /g, '-');
}

function anchorsOf(markdown: string): Set<string> {
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, '');
  return new Set([...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading as string)));
}

test('README.md has at most 9 KB', async () => {
  expect(Buffer.byteLength(await read('README.md'))).toBeLessThanOrEqual(9 * 1024);
});

test('README.md shows the API that it starts', async () => {
  const shown = blocksOf(await read('README.md')).find(({ language }) => language === 'js')?.text ?? '';
  const withoutAddresses = (source: string) =>
    source
      .replace(/^(\/\/.*\n|\n)+/, '')
      .replace(/^const port = .*\n/m, '')
      .replace(/issuer: .*/, '')
      .replace(/ from '.*guard.*'/, '')
      .replace(/app\.listen.*/, '')
      .replace(/\n+/g, '\n');
  expect(withoutAddresses(shown)).toContain("clients: ['shop']");
  expect(withoutAddresses(await read('examples/orders-api.mjs'))).toBe(withoutAddresses(shown));
});

test('docs/README.md links every page of docs', async () => {
  const pages = (await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md') && name !== 'README.md');
  expect(pagesOf(await read('docs/README.md')).sort()).toEqual(pages.sort());
});

test('docs/audit.md has a row for each type of audit event', async () => {
  const rows = [...(await read('docs/audit.md')).matchAll(/^\| `([a-z_]+\.[a-z_]+)` +\|/gm)].map(([, type]) => type);
  expect(rows).toEqual([...AUDIT_EVENT_TYPES]);
});

test('every link to a file of the repository leads to a file, and to a heading of it', async () => {
  const dead: string[] = [];
  for (const path of await markdownFiles()) {
    const text = await read(path);
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = '', anchor] = target.split('#');
      const linked = file === '' ? path : join(dirname(path), file);
      if (!existsSync(join(ROOT, linked))) dead.push(`${path}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(await read(linked)).has(anchor)) dead.push(`${path}: ${target}`);
    }
  }
  expect(dead).toEqual([]);
});

test('every path of the repository that the maps name exists', async () => {
  const decisions = (await readdir(join(ROOT, 'docs/decisions'))).map((name) => `docs/decisions/${name}`);
  const missing: string[] = [];
  for (const page of ['CONTRIBUTING.md', 'docs/architecture.md', 'docs/reliability.md', ...decisions]) {
    for (const [, path = ''] of (await read(page)).matchAll(
      /`((?:src|test|bench|migrations|seeds|docs)\/[\w./-]*)`/g,
    )) {
      if (!existsSync(join(ROOT, path))) missing.push(`${page}: ${path}`);
    }
  }
  expect(missing).toEqual([]);
});

test('the way of a token request, from main to the answer, is read in at most 500 lines with the map', async () => {
  const map = await read('docs/architecture.md');
  const rows = [...map.matchAll(/^\| `(src\/[\w./-]+)` *\| (`.*?`) *\|/gm)];
  const functions = rows.flatMap(([, path = '', names = '']) =>
    [...names.matchAll(/`(\w+)`/g)].map(([, name = '']) => ({ path, name })),
  );
  expect(functions.length).toBeGreaterThanOrEqual(12);
  let lines = map.split('\n').length;
  for (const { path, name } of functions) lines += linesOfFunction(await read(path), name);
  expect(lines).toBeLessThanOrEqual(500);
});

function linesOfFunction(source: string, name: string): number {
  const text = new RegExp(`^(?:export )?(?:async )?function ${name}\\b[\\s\\S]*?^}$`, 'm').exec(source)?.[0];
  if (text === undefined) throw new Error(`there is no function ${name}: correct docs/architecture.md`);
  return text.split('\n').length;
}
