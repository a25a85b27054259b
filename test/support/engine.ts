// The engine as createEngine builds it, on a database of its own and a real port, without the rest
// of the server: for tests that use its models directly.

import { createServer } from 'node:http';
import pg from 'pg';
import { createSecretVerifier, generateSecret, hashGeneratedSecret } from '../../src/clients/secret.ts';
import { loadConfig } from '../../src/config/config.ts';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { loadSigningKeys, type SigningKey } from '../../src/keys/key-ring.ts';
import { deriveKeys } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createPasswordHasher } from '../../src/password-hash.ts';
import { createEngine, type Engine } from '../../src/provider/engine.ts';
import type { Pages } from '../../src/provider/http/pages.ts';
import type { TestClient } from './admin.ts';
import { createTestDatabase } from './database.ts';
import { freePort } from './server.ts';

export interface TestEngine extends Engine {
  readonly issuer: string;
  readonly database: Database;
  readonly sql: pg.Pool;
  readonly signingKeys: readonly SigningKey[];
  /** Stores a client as it is, without the checks of the admin API. */
  insertClient(clientId: string, metadata?: Record<string, unknown>): Promise<TestClient>;
  insertUser(userId: string): Promise<void>;
  insertApi(identifier: string, format: 'jwt' | 'opaque', allowed: Record<string, readonly string[]>): Promise<void>;
  /** As a request does it: what the work writes is committed when it is done. */
  inUnit<T>(work: () => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export async function startTestEngine(): Promise<TestEngine> {
  const { connectionString, drop } = await createTestDatabase();
  const log = createLog('silent');
  const port = await freePort();
  const config = loadConfig({ LANYARD_PORT: String(port) });
  const database = createDatabase({ connectionString, poolSize: 5, queueSize: 5_000, log });
  const keys = deriveKeys('a secret key for the tests of the engine');
  const signingKeys = await loadSigningKeys(database, keys.sealingKeys);
  const pages: Pages = {
    async renderError(ctx, out) {
      ctx.body = out;
    },
    renderLogout: async () => {},
    renderSignedOut: async () => {},
    renderUserCode: async () => {},
    renderDeviceConfirmation: async () => {},
    renderDeviceDone: async () => {},
    renderTooManyGuesses: () => {},
    renderFormPost: () => {},
  };
  const throttle = { attempt: async () => undefined, giveBack: async () => {} };
  const secretVerifier = createSecretVerifier({ passwords: createPasswordHasher(), throttle, onFailure: () => {} });
  const deps = {
    config,
    database,
    dpopNonceSecret: keys.dpopNonceSecret,
    artifactKey: keys.artifactKey,
    pairwiseSalt: 'a salt for the tests',
    adminApi: { identifier: `${config.issuer}/admin`, clientId: 'lanyard-admin' },
    detailsTypes: { current: () => [] },
    fetch,
    readClientCertificate: undefined,
    logoutNotices: { add: async () => {} },
    secretVerifier,
    pages,
    prelude: {
      middlewares: [],
      setCommonHeaders: () => {},
      rawHeaders: () => [],
      originOf: () => undefined,
      attachTo: () => {},
    },
    metrics: createMetrics(),
    log,
  };
  const engine = await createEngine(deps, { signingKeys, cookieKeys: keys.cookieKeys(0) });
  const http = createServer(engine.handler);
  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve));
  const sql = new pg.Pool({ connectionString, max: 2 });

  return {
    ...engine,
    // Others after a change of keys.
    get provider() {
      return engine.provider;
    },
    get jwtAccessTokens() {
      return engine.jwtAccessTokens;
    },
    issuer: config.issuer,
    database,
    sql,
    signingKeys,
    async insertClient(clientId, metadata = { grant_types: ['client_credentials'] }) {
      const clientSecret = generateSecret();
      const complete = { redirect_uris: [], response_types: [], ...metadata };
      await sql.query('INSERT INTO clients (client_id, metadata) VALUES ($1, $2)', [clientId, complete]);
      await sql.query('INSERT INTO client_secrets (id, client_id, hash) VALUES ($1, $1, $2)', [
        clientId,
        hashGeneratedSecret(clientSecret),
      ]);
      return { clientId, clientSecret };
    },
    async insertUser(userId) {
      await sql.query('INSERT INTO users (id, username, password_hash) VALUES ($1, $1, $2)', [userId, 'none']);
    },
    async insertApi(identifier, format, allowed) {
      await sql.query('INSERT INTO resource_servers (identifier, scopes, access_token_format) VALUES ($1, $2, $3)', [
        identifier,
        Object.values(allowed).flat(),
        format,
      ]);
      for (const [clientId, scopes] of Object.entries(allowed)) {
        const text = 'INSERT INTO client_grants (client_id, resource_server, scopes) VALUES ($1, $2, $3)';
        await sql.query(text, [clientId, identifier, scopes]);
      }
    },
    async inUnit(work) {
      const { result, commit } = await engine.unitOfWork.collect('a request', work);
      await commit();
      return result;
    },
    async stop() {
      await new Promise((resolve) => {
        http.close(resolve);
        http.closeAllConnections();
      });
      await sql.end();
      await database.close();
      await drop();
    },
  };
}
