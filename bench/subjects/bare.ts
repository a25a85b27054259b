// Starts the bare engine (bare-engine.ts) as a child process.

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { ClientLogin, Fixtures } from '../fixtures.ts';
import { findFreePort, startChild } from './child.ts';
import { watchProcesses } from './processes.ts';
import { PATHS, type Subject } from './subject.ts';

const SCRIPT = fileURLToPath(new URL('./bare-engine.ts', import.meta.url));

export async function startBare(options: { folder: string }): Promise<Subject> {
  const port = await findFreePort();
  const login = (clientId: string): ClientLogin => ({
    clientId,
    clientSecret: randomBytes(32).toString('base64url'),
  });
  const fixtures: Fixtures = {
    service: login('service'),
    api: login('api'),
    app: { clientId: 'app', clientSecret: '' },
    web: login('web'),
  };
  const child = await startChild({
    script: SCRIPT,
    args: [String(port), JSON.stringify(fixtures)],
    env: {},
    cwd: options.folder,
    ready: 'The bare engine is running.',
  });
  return {
    name: 'engine',
    url: `http://127.0.0.1:${port}`,
    paths: PATHS,
    fixtures,
    processes: watchProcesses(child.pid),
    admin: undefined,
  };
}
