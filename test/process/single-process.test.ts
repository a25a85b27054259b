// The start of an installation, where something is in the way.

import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { startSingleProcess } from '../../src/process/single-process.ts';
import { requestToken } from '../support/admin.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { freePort, SECRET_KEY } from '../support/server.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

function start(port: number) {
  return startSingleProcess({
    config: loadConfig({ LANYARD_PORT: String(port) }),
    connectionString: database.connectionString,
    secretKey: SECRET_KEY,
    log: createLog('silent'),
  });
}

test('a first start that fails because its port is taken does not use up the admin secret, which is shown once', async () => {
  const takenPort = await freePort();
  const neighbour = createServer();
  await new Promise<void>((resolve) => neighbour.listen(takenPort, '127.0.0.1', resolve));
  await expect(start(takenPort)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await new Promise((resolve) => neighbour.close(resolve));

  const installation = await start(await freePort());
  try {
    const clientSecret = installation.adminClientSecret ?? 'none was shown';
    const issuer = `http://localhost:${installation.port}`;
    const { status } = await requestToken(issuer, { clientId: 'lanyard-admin', clientSecret });
    expect(status).toBe(200);
  } finally {
    await installation.stop();
  }
});
