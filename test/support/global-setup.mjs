// One throw-away PostgreSQL for a whole run of Jest, with the newest schema in `template_lanyard`;
// test/support/database.ts copies it. Both Jest configurations name this file.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.ts';
import { superuserUrl } from '../../src/database/embedded/roles.ts';
import { migrateToLatest } from '../../src/database/migrations.ts';

const PREFIX = 'lanyard-test-';

export default async function startTestPostgres() {
  if (globalThis.lanyardTestPostgres !== undefined) return;
  await removeLeftovers();
  const dir = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const postgres = await startEmbeddedPostgres({
    dataDir: join(dir, 'postgres'),
    databaseName: 'template_lanyard',
    // These data need not outlive a power cut.
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
    log: () => {},
  });
  globalThis.lanyardTestPostgres = { postgres, dir };
  await migrateToLatest(postgres.connectionString);
  // Every cluster has this database.
  const address = { port: postgres.port, databaseName: 'template1' };
  process.env.LANYARD_TEST_POSTGRES_URL = await superuserUrl(join(dir, 'postgres'), address);
}

/**
 * Folders of runs that were killed. Their PostgreSQL notices within a minute that its files are
 * gone, and exits.
 */
async function removeLeftovers() {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX) || isAlive(Number.parseInt(name.slice(PREFIX.length), 10))) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {});
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}
