// How many connections PostgreSQL lets this installation have, and how the pools of its processes share them. Without that, the pool that
// is busy first would take them all, and another one could not open any.

import type { Log } from '../log.ts';
import { withConnection } from './migrations.ts';

/** The one for change notifications, and those of the job queue. */
const BESIDE_THE_POOL = 3;
/** One for batches, and one for everything else. */
const SMALLEST_POOL = 2;
/** While several processes start, the first one stores the admin client. */
const OF_A_PRIMARY = 3;

interface Demand {
  readonly processes: number;
  /** of each process, as the configuration has it */
  readonly poolSize: number;
}

interface Limits {
  readonly role: string;
  /** each null when there is none; no limit but the server's holds for a superuser */
  readonly role_limit: number | null;
  readonly database_limit: number | null;
  readonly server_limit: number;
  /** now, without this one */
  readonly role_used: number;
  readonly database_used: number;
  readonly server_used: number;
}

const READ_LIMITS = `
  SELECT rolname AS role,
         CASE WHEN NOT rolsuper AND rolconnlimit >= 0 THEN rolconnlimit END AS role_limit,
         CASE WHEN NOT rolsuper AND datconnlimit >= 0 THEN datconnlimit END AS database_limit,
         current_setting('max_connections')::int
           - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true)::int, 0) END AS server_limit,
         used.role::int AS role_used, used.database::int AS database_used, used.server::int AS server_used
    FROM pg_roles
    JOIN pg_database ON datname = current_database()
   CROSS JOIN (SELECT count(*) FILTER (WHERE usename = session_user) AS role,
                      count(*) FILTER (WHERE datname = current_database()) AS database,
                      count(*) AS server
                 FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND (backend_type IN ('client backend', 'walsender')
                   -- Of other roles an ordinary one is not told the type. What else runs has no role, or no database.
                   OR backend_type IS NULL AND usename IS NOT NULL AND datname IS NOT NULL)) AS used
   WHERE rolname = session_user`;

interface Limit {
  readonly of: string;
  readonly most: number;
  readonly used: number;
}

/**
 * Asks PostgreSQL what it allows. (A pooler in between may allow less.)
 * @returns the size of the pool of each process: that of the configuration, or less
 * @throws Error with the numbers when it allows too few, or others have them now
 */
export async function sharePool(
  connectionString: string,
  { processes, poolSize }: Demand,
  log: Pick<Log, 'warn'>,
): Promise<number> {
  const limits = await withConnection(connectionString, async (connection) => {
    const { rows } = await connection.query<Limits>(READ_LIMITS);
    return toLimits(rows[0] as Limits);
  });
  const forStart = processes > 1 ? OF_A_PRIMARY : 0;
  const least = processes * (SMALLEST_POOL + BESIDE_THE_POOL) + forStart;
  for (const { of, most, used } of limits) {
    if (most - used >= least) continue;
    throw new Error(
      `PostgreSQL allows too few connections: ${of} is ${most}, ${used} are in use, and ` +
        `${processes === 1 ? 'one process needs' : `${processes} processes (LANYARD_WORKERS) need`} ${least} at least`,
    );
  }
  const [lowest] = limits.toSorted((one, other) => one.most - other.most);
  const { of, most } = lowest as Limit;
  const share = Math.floor((most - forStart) / processes) - BESIDE_THE_POOL;
  if (share < poolSize) {
    log.warn(
      { limit: of, connections: most, processes, configured: poolSize, pool_size: share },
      'PostgreSQL allows fewer connections than LANYARD_DATABASE_POOL_SIZE asks for: the pools are smaller',
    );
  }
  return Math.min(share, poolSize);
}

function toLimits(found: Limits): Limit[] {
  const all = [
    { of: `the limit of the role "${found.role}"`, most: found.role_limit, used: found.role_used },
    { of: 'the limit of the database', most: found.database_limit, used: found.database_used },
    { of: 'max_connections, less those reserved for others,', most: found.server_limit, used: found.server_used },
  ];
  return all.flatMap(({ most, ...limit }) => (most === null ? [] : [{ ...limit, most }]));
}
