// The two roles of the cluster. `postgres`, the superuser, is used at a start alone: it makes the other role and the database. The
// server connects as `lanyard`, which owns that database and can neither read files of the system nor run programs.

import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';

const SUPERUSER = 'postgres';
const SERVER_ROLE = 'lanyard';
export const PASSWORD_FILE = 'postgres-password';

interface DatabaseAddress {
  readonly port: number;
  readonly databaseName: string;
}

/** For tests and tools, which can read the file in the data folder. */
export async function superuserUrl(dataDir: string, address: DatabaseAddress): Promise<string> {
  const password = (await readFile(join(dataDir, PASSWORD_FILE), 'utf8')).trim();
  return urlOf(SUPERUSER, password, address);
}

interface PrepareOptions extends DatabaseAddress {
  /** the superuser's */
  readonly password: string;
  /** with an empty database, `postgres`, and nothing else */
  readonly isNewCluster: boolean;
}

/**
 * Makes the role and the database, or gives the role a database that the superuser of an earlier version owned.
 * @returns where and as whom the server connects
 */
export async function prepareDatabase({ password, isNewCluster, ...address }: PrepareOptions): Promise<string> {
  const { databaseName, port } = address;
  // From that of the superuser, but not the other way round. It stays the same, so that there is no second file.
  const serverPassword = createHmac('sha256', password).update(`the role ${SERVER_ROLE}`).digest('base64url');
  const superuserAt = (name: string) => urlOf(SUPERUSER, password, { port, databaseName: name });
  const owner = await withClient(superuserAt('template1'), async (client) => {
    const { rows } = await client.query<{ has_role: boolean; owner: string | null }>(FIND, [databaseName, SERVER_ROLE]);
    const found = rows[0];
    await client.query(`${found?.has_role ? '' : `CREATE ROLE ${SERVER_ROLE};`} ${alterRole(serverPassword)}`);
    if (found?.owner) return found.owner;
    const name = pg.escapeIdentifier(databaseName);
    await client.query(
      // To create another database takes a quarter of a second. After a kill in between, the next start creates one.
      isNewCluster
        ? `ALTER DATABASE postgres RENAME TO ${name}; ALTER DATABASE ${name} OWNER TO ${SERVER_ROLE}`
        : `CREATE DATABASE ${name} TEMPLATE template0 OWNER ${SERVER_ROLE}`,
    );
    return SERVER_ROLE;
  });
  if (owner !== SERVER_ROLE) await withClient(superuserAt(databaseName), (client) => client.query(TAKE_OVER));
  return urlOf(SERVER_ROLE, serverPassword, address);
}

const FIND = `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $2) AS has_role,
  (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1) AS owner`;

function alterRole(password: string): string {
  const rights = 'LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS';
  return `ALTER ROLE ${SERVER_ROLE} ${rights} PASSWORD ${pg.escapeLiteral(password)}`;
}

/** PostgreSQL's own objects have lower numbers. (REASSIGN OWNED refuses what belongs to its first superuser.) */
const FIRST_OID = 16_384;

/**
 * All that the migrations and the job queue made as superuser. The owner of the database, which tells that it is needed, changes
 * last, in the same transaction. A sequence of a column goes with its table.
 */
const TAKE_OVER = `DO $$
DECLARE
  command text;
  me oid := (SELECT oid FROM pg_roles WHERE rolname = session_user);
BEGIN
  FOR command IN
    SELECT format('ALTER SCHEMA %I OWNER TO ${SERVER_ROLE}', nspname)
      FROM pg_namespace WHERE nspowner = me AND oid >= ${FIRST_OID}
    UNION ALL
    SELECT format('ALTER %s %s OWNER TO ${SERVER_ROLE}',
             CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                          WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
             oid::regclass)
      FROM pg_class WHERE relowner = me AND oid >= ${FIRST_OID} AND relkind IN ('r', 'p', 'S', 'v', 'm', 'c')
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                        AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND pg_class.relkind = 'S')
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO ${SERVER_ROLE}', oid::regprocedure)
      FROM pg_proc WHERE proowner = me AND oid >= ${FIRST_OID}
    UNION ALL
    SELECT format('ALTER TYPE %s OWNER TO ${SERVER_ROLE}', oid::regtype)
      FROM pg_type WHERE typowner = me AND oid >= ${FIRST_OID} AND typtype IN ('d', 'e', 'r')
  LOOP
    EXECUTE command;
  END LOOP;
  EXECUTE format('ALTER DATABASE %I OWNER TO ${SERVER_ROLE}', current_database());
END $$`;

function urlOf(role: string, password: string, { port, databaseName }: DatabaseAddress): string {
  return `postgres://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(databaseName)}`;
}

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString, application_name: 'lanyard-start' });
  // A lost connection fails the statement; without a listener its event would end the process too.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
