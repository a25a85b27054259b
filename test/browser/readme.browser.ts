// The curl part of README.md, run word for word in one shell against a whole server: each answer that it shows is the answer
// that comes. Only the addresses, and what a reader pastes, are put in.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ADMIN_SECRET, freePort, startTestServer, type TestServer } from '../support/server.ts';
import { blocksOf, openShell, ROOT, type Shell, withoutChance } from '../support/shell-blocks.ts';
import { createUserAgent, signInAndAllow } from '../support/user-agent.ts';

const USER = { username: 'alice', password: 'correct horse battery' };

describe('README.md with curl', () => {
  let server: TestServer;
  let shell: Shell;
  let api: ChildProcess | undefined;

  beforeAll(async () => {
    server = await startTestServer();
    shell = openShell();
  });
  afterAll(async () => {
    api?.kill();
    shell.close();
    await server.stop();
  });

  async function startApi(code: string): Promise<void> {
    const source = code.replace("'lanyard/guard'", "'./src/guard/index.ts'");
    expect(source).not.toBe(code);
    const child = spawn(process.execPath, ['--input-type=module', '-e', `${source}\nconsole.log('listening');`], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    api = child;
    await new Promise((resolve) => child.stdout.once('data', resolve));
  }

  test('every block does what README.md shows', async () => {
    const apiPort = await freePort();
    const readme = (await readFile(join(ROOT, 'README.md'), 'utf8'))
      .replaceAll('http://localhost:3000', server.issuer)
      .replaceAll('http://localhost:4000', `http://localhost:${apiPort}`)
      .replace('app.listen(4000)', `app.listen(${apiPort})`)
      .replace('paste the client_secret that the first start has printed', ADMIN_SECRET);
    let output = '';
    let shown = 0;
    for (const { language, text } of blocksOf(readme)) {
      if (language === 'js') {
        await startApi(text);
      } else if (language === 'text') {
        shown += 1;
        expect(withoutChance(output)).toBe(withoutChance(text));
      } else if (text.includes('paste the code')) {
        const back = await signInAndAllow(createUserAgent(server.issuer), output.trim(), USER);
        output = await shell.run(text.replace(/paste the code[^']*/, back.searchParams.get('code') ?? ''));
      } else {
        output = await shell.run(text);
      }
    }
    expect(shown).toBe(5);
  });
});
