// A whole Lanyard for one test file: its own database, cloned from the template, a real port, and a
// client of the admin API.

import { createServer } from 'node:net';
import pg from 'pg';
import { type Config, loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { startSingleProcess } from '../../src/process/single-process.ts';
import type { Instance } from '../../src/process/startup.ts';
import { type AdminClient, createAdminClient } from './admin.ts';
import { createTestDatabase } from './database.ts';

export const ADMIN_SECRET = 'an admin secret for the tests';
export const SECRET_KEY = 'a secret key for the tests, long enough to be one';

export interface TestServer {
  readonly issuer: string;
  readonly config: Config;
  readonly connectionString: string;
  /** of the listener that LANYARD_METRICS_PORT asks for */
  readonly metricsPort: number | undefined;
  /** of the listener that LANYARD_TLS_PORT asks for */
  readonly tlsPort: number | undefined;
  readonly admin: AdminClient;
  /** reads and writes the database without asking the server */
  readonly sql: pg.Pool;
  /** every line that the server has logged */
  readonly logLines: readonly string[];
  /**
   * a second server on the same database, as a load balancer would have it: same issuer, other port
   */
  startTwin(env?: Record<string, string>): Promise<{ url: string; stop(): Promise<void> }>;
  stop(): Promise<void>;
}

/**
 * @param env variables on top of the defaults, e.g. `{ LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '3' }`
 * @param options.through gives the server another way to its database, e.g. a proxy
 * @param options.locale of its database, of the C library
 */
export async function startTestServer(
  env: Record<string, string> = {},
  { through, locale }: { through?: (connectionString: string) => Promise<string>; locale?: string } = {},
): Promise<TestServer> {
  const testDatabase = await createTestDatabase(locale === undefined ? {} : { locale });
  const { connectionString } = testDatabase;
  const ofServer = (await through?.(connectionString)) ?? connectionString;
  const logLines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void logLines.push(line) });
  const start = async (variables: Record<string, string>): Promise<[Instance, Config]> => {
    const config = loadConfig({
      LANYARD_ADMIN_CLIENT_SECRET: ADMIN_SECRET,
      DATABASE_URL: connectionString,
      LANYARD_SECRET_KEY: SECRET_KEY,
      LANYARD_DATABASE_POOL_SIZE: '10',
      // All tests come from one address, as fast as the machine can.
      LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: '1000000',
      LANYARD_ANONYMOUS_WRITES_PER_CLIENT: '1000000',
      ...env,
      ...variables,
    });
    const secretKey = config.secretKey as string;
    return [await startSingleProcess({ config, connectionString: ofServer, secretKey, log }), config];
  };

  const [installation, config] = await onFreePort((port) => start({ LANYARD_PORT: String(port) }));
  const sql = new pg.Pool({ connectionString, max: 3 });
  // Dropping the database may still meet a connection that is closing.
  sql.on('error', () => {});
  return {
    issuer: config.issuer,
    config,
    connectionString,
    metricsPort: installation.metricsPort,
    tlsPort: installation.tlsPort,
    admin: createAdminClient(config.issuer, ADMIN_SECRET),
    sql,
    logLines,
    async startTwin(twinEnv = {}) {
      const own = { ...twinEnv, LANYARD_ISSUER: config.issuer };
      const [twin] = await onFreePort((port) => start({ ...own, LANYARD_PORT: String(port) }));
      return { url: `http://127.0.0.1:${twin.port}`, stop: () => twin.stop() };
    },
    async stop() {
      await installation.stop();
      await sql.end();
      await testDatabase.drop();
    },
  };
}

/**
 * The issuer names the port, so the port must be known before the server listens; another process
 * may take it first.
 */
async function onFreePort<T>(work: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(await freePort());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempt === 5) throw error;
    }
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
