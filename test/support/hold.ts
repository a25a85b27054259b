// Stops the world where a test wants it: a table that another session has locked, statements that wait for it, connections that
// are cut; and waiting for something to become true without guessing how long that takes.

import pg from 'pg';

/** Resolves when the condition holds. @throws Error when it still does not after `timeoutMs` */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = 'what was waited for',
  timeoutMs = 10_000,
): Promise<void> {
  for (const giveUpAt = Date.now() + timeoutMs; !(await condition()); ) {
    if (Date.now() > giveUpAt) throw new Error(`${what} did not happen within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export interface HeldLock {
  release(): Promise<void>;
}

/** Nobody else can read or write the table until it is released. */
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

/** How many statements of this database wait for a lock now. */
export async function countBlocked(sql: pg.Pool): Promise<number> {
  const { rows } = await sql.query(
    `SELECT count(*)::int AS count FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0].count;
}

/** Ends the connections that wait for a lock. @returns how many */
export async function killBlocked(sql: pg.Pool): Promise<number> {
  const { rowCount } = await sql.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rowCount ?? 0;
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
