// A real Chromium for the browser tests: Debian's package, or the one that CHROMIUM_PATH names.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

export async function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    headless: true,
    // Root may not use Chromium's sandbox; the other flags switch off requests of its own.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

function findChromium(): string {
  const named = process.env.CHROMIUM_PATH;
  if (named !== undefined) return named;
  for (const folder of (process.env.PATH ?? '').split(':')) {
    for (const name of NAMES) {
      if (existsSync(join(folder, name))) return join(folder, name);
    }
  }
  throw new Error('The browser tests need Chromium: apt-get install chromium, or set CHROMIUM_PATH');
}
