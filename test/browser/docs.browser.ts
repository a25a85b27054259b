// The pages in docs/ with shell blocks, run word for word after the first block of README.md, each against a server of its own.

import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ALICE } from '../support/oauth.ts';
import { ADMIN_SECRET, startTestServer, type TestServer } from '../support/server.ts';
import { blocksOf, openShell, ROOT, type Shell, withoutChance } from '../support/shell-blocks.ts';
import { createUserAgent, signInAndAllow } from '../support/user-agent.ts';

/** Those whose blocks are commands for another machine, and the reason. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'guard.md': 'installs the package into an API; test/guard runs its code',
  'mutual-tls.md': 'an environment and a host of its own; test/browser/nginx.browser.ts runs its configuration',
  'operations.md': 'stops and restores installations',
  'scaling.md': 'several machines',
};

const pages = readdirSync(join(ROOT, 'docs')).filter((name) => {
  if (!name.endsWith('.md') || NOT_RUN[name] !== undefined) return false;
  return readFileSync(join(ROOT, 'docs', name), 'utf8').includes('```sh\n');
});

let server: TestServer;
let shell: Shell;
beforeEach(async () => {
  server = await startTestServer();
  shell = openShell();
});
afterEach(async () => {
  shell.close();
  await server.stop();
});

describe('docs with curl', () => {
  test.each(pages)('%s', async (name) => {
    const read = async (path: string) => blocksOf(await readFile(join(ROOT, path), 'utf8'));
    const [prelude] = await read('README.md').then((blocks) => blocks.filter(({ text }) => text.startsWith('ISSUER=')));
    const start = prelude?.text
      .replace('http://localhost:3000', server.issuer)
      .replace('paste the client_secret that the first start has printed', ADMIN_SECRET);
    await shell.run(start as string);
    let output = '';
    for (const { language, text } of await read(`docs/${name}`)) {
      if (language === 'text') expect(withoutChance(output)).toBe(withoutChance(text));
      else if (language === 'sh' && text.includes('paste the code')) {
        const back = await signInAndAllow(createUserAgent(server.issuer), output.trim(), ALICE);
        output = await shell.run(text.replace(/paste the code[^']*/, back.searchParams.get('code') ?? ''));
      } else if (language === 'sh') output = await shell.run(text);
    }
  });
});
