// Gives users the key that their names are compared by. Rows without one come from before the
// column existed, from a server of the version before while an upgrade lasts, and from SQL that
// renames. A name that PRECIS refuses gets no key, and names that have become equal lose theirs
// together: such users sign in with their names exactly as stored, and nobody else can.

import type { Database, Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import type { Log } from '../log.ts';
import { startPeriodicTask } from '../periodic-task.ts';
import type { UsernameProblem } from './user.ts';
import { usernameKey } from './username.ts';

/** About as many lines as one transaction may add to the change log. */
const BATCH = 1_000;
const INTERVAL_MS = 60_000;
const MAX_NAMED = 20;

const SQL = {
  // One after the other: of two that gave out one key, neither would see it at the other. An
  // arbitrary number.
  lock: { name: 'username_keys_lock', text: 'SELECT pg_advisory_xact_lock(5641389012340024)' },
  pending: {
    name: 'username_pending',
    text: `SELECT id, username FROM users
           WHERE username_key IS NULL AND username_problem IS NULL AND id > $1 ORDER BY id LIMIT ${BATCH} FOR UPDATE`,
  },
  // With OFFSET each key is looked up by itself, whatever the statistics say.
  setKeys: {
    name: 'username_set_keys',
    text: `WITH named AS (
             SELECT id, key, count(*) OVER (PARTITION BY key) AS uses FROM unnest($1::text[], $2::text[]) AS named (id, key)
           )
           UPDATE users SET username_key = named.key, username_problem = CASE
             WHEN named.key IS NULL THEN 'refused'
             WHEN named.uses > 1 OR EXISTS (SELECT 1 FROM users other WHERE other.username_key = named.key OFFSET 0)
               THEN 'collision' END
           FROM named WHERE users.id = named.id RETURNING username_key, username_problem`,
  },
  // Whose name has become that of another, or is no longer.
  settle: {
    name: 'username_settle',
    text: `WITH uses AS (
             SELECT key, (SELECT count(*) FROM users WHERE username_key = key) AS count FROM (
               SELECT unnest($1::text[]) UNION SELECT username_key FROM users WHERE username_problem = 'collision'
             ) AS all_keys (key)
           )
           UPDATE users SET username_problem = CASE WHEN uses.count > 1 THEN 'collision' END, version = version + 1
           FROM uses WHERE username_key = uses.key AND (username_problem IS NOT NULL) <> (uses.count > 1)`,
  },
  state: {
    name: 'username_state',
    text: `SELECT EXISTS (SELECT 1 FROM users WHERE username_key IS NULL AND username_problem IS NULL) AS has_pending,
             count(*) FILTER (WHERE username_problem = 'refused')::int AS refused,
             count(*) FILTER (WHERE username_problem = 'collision')::int AS collisions,
             coalesce((array_agg(id ORDER BY id))[:${MAX_NAMED}], '{}') AS user_ids
           FROM users WHERE username_problem IS NOT NULL`,
  },
};

interface Given {
  /** how many users got a key, or were found to have none */
  readonly users: number;
  /** of the last of them */
  readonly lastId: string;
}

/**
 * Within the transaction of `query`, until whose end no other gives out a key.
 * @param after only users with a greater id
 */
export async function giveUsernameKeys(query: Query, after = ''): Promise<Given> {
  await query(SQL.lock, []);
  const { rows: pending } = await query<{ id: string; username: string }>(SQL.pending, [after]);
  const ids = pending.map(({ id }) => id);
  const keys = pending.map(({ username }) => usernameKey(username) ?? null);
  const { rows } = ids.length === 0 ? { rows: [] } : await query<KeyRow>(SQL.setKeys, [ids, keys]);
  const shared = rows.filter(({ username_problem: problem }) => problem === 'collision');
  await query(SQL.settle, [shared.map(({ username_key: key }) => key)]);
  return { users: ids.length, lastId: ids.at(-1) ?? after };
}

interface KeyRow {
  readonly username_key: string | null;
  readonly username_problem: UsernameProblem | null;
}

export interface UsernameKeyDeps {
  readonly database: Pick<Database, 'query' | 'longTransaction'>;
  readonly log: Log;
}

interface State {
  readonly has_pending: boolean;
  readonly refused: number;
  readonly collisions: number;
  readonly user_ids: readonly string[];
}

const readState = async (query: Query): Promise<State> => oneRow(await query<State>(SQL.state, []));

/** Gives every user a key, and logs whose names have a problem. */
export async function completeUsernameKeys({ database, log }: UsernameKeyDeps): Promise<void> {
  const before = await readState(database.query);
  let given = 0;
  // A name may have become free meanwhile. Otherwise nothing is written: the database may be a standby.
  if (before.has_pending || before.collisions > 0) {
    for (let last: Given = { users: BATCH, lastId: '' }; last.users === BATCH; given += last.users) {
      const { lastId } = last;
      last = await database.longTransaction((query) => giveUsernameKeys(query, lastId));
    }
  }
  if (given > 0) log.info({ users: given }, 'user names got the keys that they are compared by');
  const { has_pending: _, ...problems } = await readState(database.query);
  if (problems.refused + problems.collisions === 0) return;
  log.warn(problems, 'users whose names must be typed exactly as stored: docs/operations.md#user-names');
}

/** For rows that a server of the version before adds while it still runs. */
export function startUsernameKeys({ database, log }: UsernameKeyDeps): () => Promise<void> {
  const keep = async () => {
    if ((await readState(database.query)).has_pending) await completeUsernameKeys({ database, log });
  };
  const onError = (error: unknown) =>
    log.warn({ error }, 'user names could not get the keys that they are compared by');
  return startPeriodicTask(keep, { intervalMs: INTERVAL_MS, onError });
}
