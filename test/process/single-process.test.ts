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
import { type AdminClient, createAdminClient, requestToken, type TestClient } from '../support/admin.ts';
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

describe('a start with another port, and so another issuer', () => {
  let ports: number[];
  beforeEach(async () => {
    ports = [await freePort(), await freePort(), await freePort()];
  });

  async function at<T>(index: number, work: (admin: AdminClient, issuer: string) => Promise<T>): Promise<T> {
    const port = String(ports[index]);
    const instance = await start({ LANYARD_PORT: port, LANYARD_ADMIN_CLIENT_SECRET: ADMIN.clientSecret });
    const issuer = `http://localhost:${port}`;
    try {
      return await work(createAdminClient(issuer, ADMIN.clientSecret), issuer);
    } finally {
      await instance.stop();
    }
  }

  /** With a token for which no resource was named. */
  async function readClients(issuer: string, client: TestClient): Promise<number> {
    const { body } = await requestToken(issuer, client);
    const headers = { authorization: `Bearer ${body.access_token}` };
    return (await fetch(`${issuer}/admin/v1/clients`, { headers })).status;
  }

  async function audiences(): Promise<string[]> {
    const { rows } = await sql.query('SELECT resource_server FROM client_grants ORDER BY client_id');
    return rows.map((row) => row.resource_server);
  }

  test('replaces the audience of the admin API: those who could call it still can', async () => {
    const operator = await at(0, async (admin, issuer) => {
      const client = await admin.createClient();
      await admin.allow(client.clientId, `${issuer}/admin`, ['admin:read']);
      return client;
    });
    for (const index of [1, 0]) {
      await at(index, async (_admin, issuer) => {
        for (const client of [ADMIN, operator]) expect(await readClients(issuer, client)).toBe(200);
        expect(await audiences()).toEqual([`${issuer}/admin`, `${issuer}/admin`]);
      });
    }
  });

  test('takes away what an earlier version has left', async () => {
    await at(0, async () => {});
    await sql.query(`INSERT INTO resource_servers (identifier, name, scopes)
      SELECT 'http://former.example/admin', name, scopes FROM resource_servers`);
    await sql.query(`INSERT INTO client_grants (client_id, resource_server, scopes)
      SELECT client_id, 'http://former.example/admin', scopes FROM client_grants`);
    await at(0, async (_admin, issuer) => {
      expect(await readClients(issuer, ADMIN)).toBe(200);
      expect(await audiences()).toEqual([`${issuer}/admin`]);
    });
  });

  test('gives back neither a policy row nor the admin client that an operator has removed', async () => {
    await at(0, async () => {});
    await sql.query('DELETE FROM client_grants');
    await at(1, async () => expect(await audiences()).toEqual([]));
    await sql.query('DELETE FROM clients');
    await at(2, async () => expect((await sql.query('SELECT 1 FROM clients')).rows).toEqual([]));
  });

  test('the admin client that may call other APIs too gets the admin API if it names none', async () => {
    await at(0, async (admin, issuer) => {
      await admin.createApi('https://a.example', { scopes: ['read'] });
      await admin.allow(ADMIN.clientId, 'https://a.example', ['read']);
      expect(await readClients(issuer, ADMIN)).toBe(200);
      const other = await admin.createClient();
      for (const api of ['https://a.example', `${issuer}/admin`]) await admin.allow(other.clientId, api, []);
      expect((await requestToken(issuer, other)).body.error).toBe('invalid_target');
    });
  });
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
