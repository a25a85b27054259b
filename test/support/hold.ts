// Stops the database where a test wants it: a table that another session has locked, statements
// that wait for that lock, connections that are ended.

import pg from 'pg';

export interface HeldLock {
  release(): Promise<void>;
}

/** Blocks every other reader and writer of the table until it is released. */
export async function lockTable(connectionString: string, table: string): Promise<HeldLock> {
  const holder = new pg.Client({ connectionString, application_name: 'test-lock' });
  await holder.connect();
  await holder.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
  return {
    async release() {
      await holder.query('COMMIT');
      await holder.end();
    },
  };
}

/** Statements that wait for a lock, but for the probes of /health/ready, which come by the clock. */
const BLOCKED = `FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query NOT LIKE '%readiness_probes%'`;

/** How many statements of this database wait for a lock now. */
export async function countBlocked(sql: pg.Pool | pg.Client): Promise<number> {
  const { rows } = await sql.query(`SELECT count(*)::int AS count ${BLOCKED}`);
  return rows[0].count;
}

/** Ends the connections that wait for a lock. @returns how many */
export async function killBlocked(sql: pg.Pool): Promise<number> {
  const { rowCount } = await sql.query(`SELECT pg_terminate_backend(pid) ${BLOCKED}`);
  return rowCount ?? 0;
}

/** How many connections have that name now. */
export async function countNamed(sql: pg.Pool, applicationName: string): Promise<number> {
  const { rows } = await sql.query(
    `SELECT count(*)::int AS count FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = $1`,
    [applicationName],
  );
  return rows[0].count;
}

/** Ends the connections of one name. @returns how many */
export async function killNamed(sql: pg.Pool, applicationName: string): Promise<number> {
  const { rowCount } = await sql.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = $1`,
    [applicationName],
  );
  return rowCount ?? 0;
}

/** The number of the advisory lock that `holdInserts` waits for. */
const INSERT_LOCK = 42;

/** Statements that store a row of that model wait until it is released; nobody else is blocked. */
export async function holdInserts(connectionString: string, model: string): Promise<HeldLock> {
  const holder = new pg.Client({ connectionString, application_name: 'test-lock' });
  await holder.connect();
  await holder.query(`
    SELECT pg_advisory_lock(${INSERT_LOCK});
    CREATE FUNCTION test_hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock_shared(${INSERT_LOCK});
      RETURN NEW;
    END $$;
    CREATE TRIGGER test_hold BEFORE INSERT ON oidc_artifacts FOR EACH ROW WHEN (NEW.model = '${model}')
      EXECUTE FUNCTION test_hold();
  `);
  return {
    async release() {
      await holder.query(`SELECT pg_advisory_unlock(${INSERT_LOCK}); DROP FUNCTION test_hold CASCADE`);
      await holder.end();
    },
  };
}
