// The shell blocks of our pages, run as a reader would: one after the other in one shell that keeps its variables.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const ROOT = join(import.meta.dirname, '../..');

export interface Block {
  readonly language: string;
  readonly text: string;
}

export function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(sh|js|text)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

export interface Shell {
  /** @returns what the block wrote */
  run(block: string): Promise<string>;
  close(): void;
}

export function openShell(): Shell {
  const shell = spawn('bash', [], { cwd: ROOT, env: { PATH: process.env.PATH } });
  let output = '';
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return {
    async run(block) {
      output = '';
      shell.stdin.write(`${block}\necho end of block\n`);
      while (!output.endsWith('end of block\n')) await sleep(10);
      return output.slice(0, -'end of block\n'.length);
    },
    close: () => shell.stdin.end(),
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
