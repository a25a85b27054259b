// README.md and the pages in docs/, run word for word in one shell against one server: first README.md, then curl.md, then the
// others in the order of docs/README.md. Each answer that a page shows is the answer that comes. Only addresses, the folder of
// the certificates, and what a reader pastes are replaced.

import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ALICE } from '../support/oauth.ts';
import { ADMIN_SECRET, freePort, startTestServer, type TestServer } from '../support/server.ts';
import { type Block, blocksOf, openShell, pagesOf, ROOT, type Shell, withoutChance } from '../support/shell-blocks.ts';
import { createUserAgent, signInAndAllow } from '../support/user-agent.ts';

/** Pages whose shell blocks are not for this machine, and the reason. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'guard.md': 'installs the package into an API; test/guard runs its code',
  'operations.md': 'stops and restores installations',
};

/** In the order of the index; test/docs.test.ts says that it links every page. */
const PAGES = pagesOf(readFileSync(join(ROOT, 'docs/README.md'), 'utf8')).filter(
  (name) => NOT_RUN[name] === undefined && readFileSync(join(ROOT, 'docs', name), 'utf8').includes('```sh\n'),
);

const read = (path: string) => readFile(join(ROOT, path), 'utf8');

let folder: string;
let server: TestServer;
let shell: Shell;
let apiPort: number;
let tlsPort: number;
/** of mutual-tls.md: the certificates must exist before the server starts */
let certificates: Block;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-docs-'));
  apiPort = await freePort();
  tlsPort = await freePort();
  const [first, settings] = (await blocksIn('docs/mutual-tls.md')) as [Block, Block];
  certificates = first;
  const making = openShell();
  await making.run(certificates.text);
  await making.close();
  server = await startTestServer(assignments(settings.text));
  // What a reader does not set: here the server is not on port 3000.
  shell = openShell({ LANYARD_ISSUER: server.issuer, PORT: String(apiPort) });
});
afterAll(async () => {
  await shell?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function assignments(ini: string): Record<string, string> {
  return Object.fromEntries(
    ini
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
}

async function blocksIn(path: string): Promise<Block[]> {
  const text = (await read(path))
    .replaceAll('http://localhost:3000', server?.issuer)
    .replaceAll('http://localhost:4000', `http://localhost:${apiPort}`)
    .replaceAll('https://localhost:8443', `https://localhost:${tlsPort}`)
    .replace('LANYARD_TLS_PORT=8443', `LANYARD_TLS_PORT=${tlsPort}`)
    .replaceAll('data/tls', folder)
    .replace('paste the client_secret here', ADMIN_SECRET);
  return blocksOf(text);
}

/** @returns how many of the page's answers were compared */
async function walk(path: string): Promise<number> {
  let output = '';
  let compared = 0;
  for (const { language, text } of await blocksIn(path)) {
    if (language === 'text') {
      expect(withoutChance(output)).toBe(withoutChance(text));
      compared += 1;
    } else if (language === 'sh' && text.includes('paste the code')) {
      const back = await signInAndAllow(createUserAgent(server.issuer), output.trim(), ALICE);
      output = await shell.run(text.replace(/paste the code[^']*/, back.searchParams.get('code') ?? ''));
    } else if (language === 'sh' && text !== certificates.text) {
      output = await shell.run(text);
      if (text.includes('npm run -s orders-api &')) await shell.untilWritten('orders listens on');
    }
  }
  return compared;
}

describe('the shell blocks', () => {
  test('README.md', async () => {
    expect(await walk('README.md')).toBe(1);
  });

  test.each(PAGES)('docs/%s', async (name) => {
    expect(await walk(`docs/${name}`)).toBeGreaterThan(0);
  });

  test('npm run seed may run again after all of them', async () => {
    expect(await shell.run('npm run -s seed > /dev/null && echo succeeded')).toMatch(/succeeded$/m);
  });
});
