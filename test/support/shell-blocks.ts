// The shell blocks of our pages, run as a reader would: one after the other in one shell that keeps its variables.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

export interface Block {
  readonly language: string;
  readonly text: string;
}

export function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(sh|js|text|ini)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

/** The pages that docs/README.md links, in its order. */
export function pagesOf(index: string): string[] {
  return [...new Set([...index.matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, name]) => name as string))];
}

export interface Shell {
  /** @returns what the block wrote to stdout and stderr */
  run(block: string): Promise<string>;
  /** Resolves when something that runs in the background has written `text` since the last block began. */
  untilWritten(text: string): Promise<void>;
  /** Ends the shell and what it has started in the background. */
  close(): Promise<void>;
}

/** @param env beside PATH and HOME */
export function openShell(env: Readonly<Record<string, string>> = {}): Shell {
  // A process group of its own, so that the processes that a page starts in the background end with it.
  const shell = spawn('bash', [], {
    cwd: ROOT,
    detached: true,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  const closed = once(shell, 'close');
  let output = '';
  let onOutput = () => {};
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onOutput();
    });
  }
  const untilWritten = (text: string) =>
    new Promise<void>((resolve) => {
      onOutput = () => {
        if (output.includes(text)) resolve();
      };
      onOutput();
    });
  return {
    untilWritten,
    async run(block) {
      const end = `end of block ${randomUUID()}\n`;
      output = '';
      shell.stdin.write(`${block}\necho ${end}`);
      await untilWritten(end);
      return output.replace(end, '');
    },
    async close() {
      process.kill(-(shell.pid as number), 'SIGTERM');
      shell.stdin.end();
      await closed;
    },
  };
}

/** What differs from run to run. */
export function withoutChance(text: string): string {
  return text
    .replace(/localhost:\d+/g, 'localhost:PORT')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'INSTANT')
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/^[A-Z]{4}-[A-Z]{4}$/gm, 'USER-CODE')
    .replace(/"(exp|iat)":\d+/g, '"$1":SECONDS')
    .replace(/"jti":"[\w-]+"/g, '"jti":"ID"')
    .trim();
}
