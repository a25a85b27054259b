// Several nodes with two workers each on one PostgreSQL, each behind a proxy of its own that can cut
// it off without a word.

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { startProxy } from '../test/support/proxy.ts';
import { freePort } from '../test/support/server.ts';
import type { Ledger } from './ledger.ts';
import { createNode, type Node } from './node.ts';

const NODES = 3;
const WORKERS = 2;

export interface Installation {
  readonly issuer: string;
  readonly adminSecret: string;
  readonly nodes: readonly Node[];
  /** The nodes reach PostgreSQL there from now on. */
  moveDatabase(connectionString: string): void;
  connectionString(): string;
  /** A connection that faults do not touch. */
  withDatabase<T>(work: (sql: pg.Client) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export interface InstallationOptions {
  /** of an empty database */
  readonly connectionString: string;
  /** an empty folder, which the caller removes */
  readonly folder: string;
  readonly ledger: Ledger;
}

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  let { connectionString } = options;
  const ports = await Promise.all(Array.from({ length: NODES }, freePort));
  const issuer = `http://localhost:${ports[0]}`;
  const adminSecret = randomBytes(24).toString('base64url');
  const secretKey = randomBytes(32).toString('base64url');
  const nodes: Node[] = [];
  for (const [index, port] of ports.entries()) {
    const name = `node ${index + 1}`;
    const home = join(options.folder, `node-${index + 1}`);
    await mkdir(home, { mode: 0o700 });
    const proxy = await startProxy(connectionString);
    const env = {
      DATABASE_URL: proxy.connectionString,
      LANYARD_ISSUER: issuer,
      LANYARD_SECRET_KEY: secretKey,
      LANYARD_ADMIN_CLIENT_SECRET: adminSecret,
      LANYARD_WORKERS: String(WORKERS),
      LANYARD_DATABASE_POOL_SIZE: '6',
      // None expires while it is in the ledger, or while a fault lasts.
      LANYARD_ACCESS_TOKEN_TTL_SECONDS: '7200',
      LANYARD_AUTHORIZATION_CODE_TTL_SECONDS: '600',
      LANYARD_LOGIN_FAILURES_PER_ADDRESS: '1000000',
      LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: '1000000',
      LANYARD_ANONYMOUS_WRITES_PER_CLIENT: '1000000',
      LANYARD_LOG_LEVEL: 'error',
    };
    nodes.push(createNode({ name, issuer, port, proxy, options: { home, port, env }, ledger: options.ledger }));
  }
  await Promise.all(nodes.map((node) => node.start()));
  return {
    issuer,
    adminSecret,
    nodes,
    moveDatabase(other) {
      connectionString = other;
      for (const { proxy } of nodes) proxy.aim(other);
    },
    connectionString: () => connectionString,
    async withDatabase(work) {
      const sql = new pg.Client({ connectionString, application_name: 'chaos' });
      sql.on('error', () => {});
      await sql.connect();
      try {
        return await work(sql);
      } finally {
        await sql.end().catch(() => {});
      }
    },
    async stop() {
      for (const { proxy } of nodes) proxy.mend();
      await Promise.all(nodes.map((node) => node.stop()));
      await Promise.all(nodes.map(({ proxy }) => proxy.stop()));
    },
  };
}

/** Nodes that answer, or are at least not known to do otherwise. */
export function reachable({ nodes }: Pick<Installation, 'nodes'>): Node[] {
  const found = nodes.filter((node) => node.isUp() && !node.isPaused());
  return found.length === 0 ? [...nodes] : found;
}
