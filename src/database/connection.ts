// What every connection to PostgreSQL begins with, whatever opens it: pools, the change feed, migrations.
//
// A role or a database may have settings of its own (ALTER ROLE ... SET), and so may the operator's postgresql.conf. Those that our
// parsing and our statements rely on are set anew, by a statement: PgBouncer refuses what it does not track in the startup message
// (https://www.pgbouncer.org/config.html#ignore_startup_parameters), or drops it.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';

const SETTINGS = {
  // How values are written, which `pg` parses: times, intervals, binary data, numbers, arrays.
  client_encoding: 'UTF8',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  // How our statements are read.
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  // Locks and ON CONFLICT see what others have committed meanwhile.
  default_transaction_isolation: 'read committed',
  // An idle connection of a pool, or one that waits for its turn to migrate, is no fault.
  idle_session_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  statement_timeout: '0',
  lock_timeout: '0',
};

/** Since PostgreSQL 17. */
const NEWER =
  "SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) <> ''";

/** @param own override the others; times in milliseconds */
export function sessionSettings(own: Readonly<Record<string, string>> = {}): string {
  const statements = Object.entries({ ...SETTINGS, ...own }).map(
    ([name, value]) => `SET ${name} = ${pg.escapeLiteral(value)}`,
  );
  return [...statements, NEWER].join('; ');
}

/** Where a connection leads to, without the password: `db.example:5432/lanyard`, `/run/postgresql:5432/lanyard` */
export function describeAddress(connectionString: string): string {
  const { host, port, database } = new pg.Client({ connectionString });
  return `${host}:${port}/${database ?? ''}`;
}

export interface UserNeeds {
  /** read for each new connection, and the socket that it goes through */
  readonly files: readonly string[];
  /** PostgreSQL may ask the system who connects ("peer"), so that another account is another role */
  readonly mayBePeer: boolean;
}

/** What each new connection needs of the account that opens it. */
export function userNeeds(connectionString: string): UserNeeds {
  const parameters = new URLSearchParams(connectionString.split('?')[1]);
  const files = ['sslcert', 'sslkey', 'sslrootcert'].flatMap((name) => parameters.get(name) ?? []);
  const { host, port, password } = new pg.Client({ connectionString });
  const isSocket = host.startsWith('/');
  if (isSocket) files.push(join(host, `.s.PGSQL.${port}`));
  const passwords = join(homedir(), '.pgpass');
  if (!password && existsSync(passwords)) files.push(passwords);
  return { files, mayBePeer: isSocket && !password };
}
