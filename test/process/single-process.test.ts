// A server in one process: a start that fails at any of its steps leaves nothing open, and a stop may be asked for more than once.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { startSingleProcess } from '../../src/process/single-process.ts';
import type { Instance } from '../../src/process/startup.ts';
import { requestToken } from '../support/admin.ts';
import { makeCertificate } from '../support/certificates.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/patience.ts';
import { beginTokenRequest, isRefused } from '../support/pending-request.ts';
import { freePort, SECRET_KEY } from '../support/server.ts';

const ADMIN = { clientId: 'lanyard-admin', clientSecret: 'an admin secret for these tests' };

let database: TestDatabase;
let sql: pg.Pool;
let folder: string;
beforeEach(async () => {
  database = await createTestDatabase();
  sql = new pg.Pool({ connectionString: database.connectionString, max: 1, application_name: 'test' });
  sql.on('error', () => {});
  folder = await mkdtemp(join(tmpdir(), 'lanyard-single-'));
});
afterEach(async () => {
  await sql.end();
  await database.drop();
  await rm(folder, { recursive: true });
});

const log = createLog('silent');

function start(env: Record<string, string>): Promise<Instance> {
  return startSingleProcess({
    config: loadConfig(env),
    connectionString: database.connectionString,
    secretKey: SECRET_KEY,
    log,
  });
}

async function takePort(): Promise<{ port: number; neighbour: Server }> {
  const port = await freePort();
  const neighbour = createServer();
  await new Promise<void>((resolve) => neighbour.listen(port, '127.0.0.1', resolve));
  return { port, neighbour };
}

const close = (server: Server) => new Promise((resolve) => server.close(resolve));

async function tlsFiles(): Promise<Record<string, string>> {
  const { cert, key } = makeCertificate({ subject: [['CN', 'localhost']], dns: ['localhost'] });
  const [certificateFile, keyFile] = [join(folder, 'cert'), join(folder, 'key')];
  await writeFile(certificateFile, cert);
  await writeFile(keyFile, key);
  return { LANYARD_TLS_CERT_FILE: certificateFile, LANYARD_TLS_KEY_FILE: keyFile };
}

function countConnections(): Promise<number> {
  return sql
    .query(
      `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'test'`,
    )
    .then(({ rows }) => rows[0].count);
}

const refuseInserts = (table: string) => `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no % today', TG_TABLE_NAME; END $$;
  CREATE TRIGGER refuse BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse()`;

describe('a start that fails leaves no listener and no connection, and the next one succeeds', () => {
  test.each<[string, () => Promise<{ env?: Record<string, string>; mend: () => Promise<unknown> }>]>([
    [
      'at the signing keys',
      async () => {
        await sql.query('ALTER TABLE signing_keys RENAME TO hidden');
        return { mend: () => sql.query('ALTER TABLE hidden RENAME TO signing_keys') };
      },
    ],
    [
      'at the secret of the installation',
      async () => {
        await sql.query(refuseInserts('installation_secrets'));
        return { mend: () => sql.query('DROP FUNCTION refuse CASCADE') };
      },
    ],
    [
      'at the files of the TLS listener',
      async () => {
        const env = { ...(await tlsFiles()), LANYARD_TLS_PORT: String(await freePort()) };
        await rm(join(folder, 'key'));
        return { env, mend: tlsFiles };
      },
    ],
    [
      'at LANYARD_PORT',
      async () => {
        const { port, neighbour } = await takePort();
        return { env: { LANYARD_PORT: String(port) }, mend: () => close(neighbour) };
      },
    ],
    [
      'at LANYARD_TLS_PORT',
      async () => {
        const { port, neighbour } = await takePort();
        return { env: { ...(await tlsFiles()), LANYARD_TLS_PORT: String(port) }, mend: () => close(neighbour) };
      },
    ],
    [
      'at LANYARD_METRICS_PORT',
      async () => {
        const { port, neighbour } = await takePort();
        return { env: { LANYARD_METRICS_PORT: String(port) }, mend: () => close(neighbour) };
      },
    ],
    [
      'at the admin client',
      async () => {
        await sql.query(refuseInserts('clients'));
        return {
          env: { LANYARD_METRICS_PORT: String(await freePort()) },
          mend: () => sql.query('DROP FUNCTION refuse CASCADE'),
        };
      },
    ],
  ])('%s', async (_step, prepare) => {
    const port = await freePort();
    const { env = {}, mend } = await prepare();
    const variables = { LANYARD_PORT: String(port), LANYARD_ADMIN_CLIENT_SECRET: ADMIN.clientSecret, ...env };
    await expect(start(variables)).rejects.toThrow();
    await until(async () => (await countConnections()) === 0, 'the end of the connections');
    await mend();
    const instance = await start(variables);
    expect((await requestToken(`http://localhost:${instance.port}`, ADMIN)).status).toBe(200);
    await instance.stop();
    await until(async () => (await countConnections()) === 0, 'the end of the connections');
  });
});

test('a first start that fails because its port is taken does not use up the admin secret, which is shown once', async () => {
  const { port, neighbour } = await takePort();
  await expect(start({ LANYARD_PORT: String(port) })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await close(neighbour);
  const instance = await start({ LANYARD_PORT: String(await freePort()) });
  const clientSecret = instance.adminClientSecret ?? 'none was shown';
  const { status } = await requestToken(`http://localhost:${instance.port}`, {
    clientId: 'lanyard-admin',
    clientSecret,
  });
  await instance.stop();
  expect(status).toBe(200);
});

describe('a stop', () => {
  let instance: Instance;
  beforeEach(async () => {
    instance = await start({ LANYARD_PORT: String(await freePort()), LANYARD_ADMIN_CLIENT_SECRET: ADMIN.clientSecret });
  });

  test('that is asked for twice answers what has begun, with the database, and resolves for both when all is closed', async () => {
    const pending = await beginTokenRequest(instance.port, ADMIN);
    const order: string[] = [];
    const first = instance.stop().then(() => order.push('first'));
    await until(() => isRefused(instance.port), 'the end of listening');
    const second = instance.stop().then(() => order.push('second'));
    const { status } = await pending.finish();
    order.push('answered');
    expect(status).toBe(200);
    await Promise.all([first, second]);
    expect(order).toEqual(['answered', 'first', 'second']);
    expect(await countConnections()).toBe(0);
    await instance.stop();
  });

  test('closes a connection on which nothing was ever sent (browsers and balancers keep some), and answers what has begun', async () => {
    const silent = connect(instance.port, '127.0.0.1');
    silent.on('error', () => {});
    const closed = new Promise((resolve) => silent.resume().on('close', resolve));
    await new Promise((resolve) => silent.on('connect', resolve));
    const pending = await beginTokenRequest(instance.port, ADMIN);
    const stopping = instance.stop();
    // After ten seconds the request would be cut too.
    await closed;
    expect((await pending.finish()).status).toBe(200);
    await stopping;
  });
});
