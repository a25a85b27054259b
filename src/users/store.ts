// Rows of `users` and `consents`, and the one mapping from a row to a User.

import type { Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import { notFound } from '../errors.ts';
import { NEXT_NOT_BEFORE, type NotBefore, type NotBeforeRow, RETURNED_NOT_BEFORE, toNotBefore } from '../not-before.ts';
import { foldSearch } from './precis.ts';
import type { User, UserClaims, UsernameProblem } from './user.ts';
import type { Username } from './username.ts';

export interface UserRow {
  id: string;
  username: string;
  username_problem: UsernameProblem | null;
  email: string | null;
  claims: UserClaims;
  is_disabled: boolean;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export const USER_COLUMNS =
  'id, username, username_problem, email, claims, disabled_at IS NOT NULL AS is_disabled, version, created_at, updated_at';

const SQL = {
  find: { name: 'user_find', text: `SELECT ${USER_COLUMNS} FROM users WHERE id = $1` },
  lock: { name: 'user_lock', text: `SELECT ${USER_COLUMNS} FROM users WHERE id = $1 FOR UPDATE` },
  findForLogin: {
    name: 'user_find_for_login',
    // One user at most has the key; another may have exactly the name that was typed. A row that a
    // server of the version before has just added is found as that finds it.
    text: `SELECT id, username, username_problem = 'collision' AS shares_key, password_hash,
             disabled_at IS NOT NULL AS is_disabled
           FROM users WHERE username = $1 OR (username_key = $2 AND username_problem IS NULL)
             OR (lower(username) = lower($1) AND username_key IS NULL AND username_problem IS NULL)
           ORDER BY username = $1 DESC, username_key = $2 DESC NULLS LAST LIMIT 1`,
  },
  replacePasswordHash: {
    name: 'user_replace_password_hash',
    text: 'UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2',
  },
  list: {
    name: 'user_list',
    text: `SELECT ${USER_COLUMNS} FROM users
           WHERE ($1::text IS NULL OR id > $1)
             AND ($2::text IS NULL OR strpos(username_key, $3) > 0 OR strpos(username, $2) > 0
                  OR strpos(lower(email), lower($2)) > 0)
             AND ($4::text IS NULL OR username_problem = $4)
           ORDER BY id LIMIT $5`,
  },
  insert: {
    name: 'user_insert',
    // A key that several share is in no unique index.
    text: `INSERT INTO users (id, username, username_key, email, password_hash, claims)
           SELECT $1, $2, $3, $4, $5, $6::jsonb WHERE NOT EXISTS (SELECT 1 FROM users WHERE username_key = $3)
           ON CONFLICT DO NOTHING RETURNING ${USER_COLUMNS}`,
  },
  rename: {
    name: 'user_rename',
    // The unique index of servers of the version before is on lower().
    text: `UPDATE users SET username = $2, username_key = NULL, username_problem = NULL WHERE id = $1 AND NOT EXISTS (
             SELECT 1 FROM users other
             WHERE (other.username_key = $3 OR lower(other.username) = lower($2)) AND other.id <> $1
           )`,
  },
  update: {
    name: 'user_update',
    text: `UPDATE users SET email = $2, claims = $3, password_hash = coalesce($4, password_hash),
             version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${USER_COLUMNS}`,
  },
  setDisabled: {
    name: 'user_set_disabled',
    text: `UPDATE users SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, now()) END,
             version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${USER_COLUMNS}`,
  },
  setNotBefore: {
    name: 'user_set_not_before',
    text: `UPDATE users SET tokens_not_before = greatest(tokens_not_before, ${NEXT_NOT_BEFORE})
           WHERE id = $1 RETURNING ${RETURNED_NOT_BEFORE}`,
  },
  consents: {
    name: 'consent_find',
    text: 'SELECT resource_server, scopes FROM consents WHERE account_id = $1 AND client_id = $2',
  },
  addConsent: {
    name: 'consent_add',
    text: `INSERT INTO consents (account_id, client_id, resource_server, scopes) VALUES ($1, $2, $3, $4)
           ON CONFLICT (account_id, client_id, resource_server) DO UPDATE SET
             scopes = ARRAY(SELECT DISTINCT unnest(consents.scopes || EXCLUDED.scopes)), updated_at = now()`,
  },
  removeConsents: { name: 'consent_remove_of_user', text: 'DELETE FROM consents WHERE account_id = $1' },
};

export function toUser(row: UserRow): User {
  return {
    id: row.id,
    username: row.username,
    usernameProblem: row.username_problem ?? undefined,
    email: row.email ?? undefined,
    claims: row.claims,
    isDisabled: row.is_disabled,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export async function findUser(query: Query, userId: string): Promise<User | undefined> {
  const { rows } = await query<UserRow>(SQL.find, [userId]);
  return rows[0] && toUser(rows[0]);
}

/** @throws AppError `not_found` */
export async function getUser(query: Query, userId: string): Promise<User> {
  const user = await findUser(query, userId);
  if (user === undefined) throw notFound(`user ${userId}`);
  return user;
}

/** Locks the row until the transaction ends. @throws AppError `not_found` */
export async function lockUser(query: Query, userId: string): Promise<User> {
  const { rows } = await query<UserRow>(SQL.lock, [userId]);
  if (rows[0] === undefined) throw notFound(`user ${userId}`);
  return toUser(rows[0]);
}

export interface LoginUser {
  readonly id: string;
  readonly username: string;
  /** others have names that are equal to this one: only the name as it is stored is this user's */
  readonly sharesKey: boolean;
  readonly passwordHash: string;
  readonly isDisabled: boolean;
}

interface LoginRow {
  id: string;
  username: string;
  shares_key: boolean | null;
  password_hash: string;
  is_disabled: boolean;
}

/** @param key of what was typed; undefined: PRECIS refuses it */
export async function findUserForLogin(
  query: Query,
  typed: string,
  key: string | undefined,
): Promise<LoginUser | undefined> {
  const { rows } = await query<LoginRow>(SQL.findForLogin, [typed, key ?? null]);
  return (
    rows[0] && {
      id: rows[0].id,
      username: rows[0].username,
      sharesKey: rows[0].shares_key === true,
      passwordHash: rows[0].password_hash,
      isDisabled: rows[0].is_disabled,
    }
  );
}

/** Not when it was replaced meanwhile. */
export async function replacePasswordHash(query: Query, userId: string, before: string, after: string): Promise<void> {
  await query(SQL.replacePasswordHash, [userId, before, after]);
}

/** @returns up to `limit` + 1, by id; `search` looks into usernames and email addresses */
export async function listUsers(
  query: Query,
  page: {
    after: string | undefined;
    limit: number;
    search: string | undefined;
    usernameProblem: UsernameProblem | undefined;
  },
): Promise<User[]> {
  const { after, search, usernameProblem, limit } = page;
  const folded = search === undefined ? null : foldSearch(search);
  const values = [after ?? null, search ?? null, folded, usernameProblem ?? null, limit + 1];
  const { rows } = await query<UserRow>(SQL.list, values);
  return rows.map(toUser);
}

export interface NewUserRow {
  readonly id: string;
  readonly username: Username;
  readonly email: string | undefined;
  readonly passwordHash: string;
  readonly claims: UserClaims;
}

/** @returns undefined if the username is taken */
export async function insertUser(query: Query, user: NewUserRow): Promise<User | undefined> {
  const { id, username, email, passwordHash, claims } = user;
  const values = [id, username.name, username.key, email ?? null, passwordHash, JSON.stringify(claims)];
  const { rows } = await query<UserRow>(SQL.insert, values);
  return rows[0] && toUser(rows[0]);
}

/** The key is for username-keys to give. @returns false if the username is taken */
export async function renameUser(query: Query, userId: string, username: Username): Promise<boolean> {
  return (await query(SQL.rename, [userId, username.name, username.key])).rowCount === 1;
}

/** @param change `passwordHash` undefined: the password stays */
export async function updateUser(
  query: Query,
  userId: string,
  change: { email: string | undefined; claims: UserClaims; passwordHash: string | undefined },
): Promise<User> {
  const values = [userId, change.email ?? null, JSON.stringify(change.claims), change.passwordHash ?? null];
  return toUser(oneRow(await query<UserRow>(SQL.update, values)));
}

export async function setUserDisabled(query: Query, userId: string, isDisabled: boolean): Promise<User> {
  return toUser(oneRow(await query<UserRow>(SQL.setDisabled, [userId, isDisabled])));
}

/** Of a row that the transaction has locked. */
export async function setUserNotBefore(query: Query, userId: string): Promise<NotBefore> {
  return toNotBefore(oneRow(await query<NotBeforeRow>(SQL.setNotBefore, [userId])));
}

/** The scopes that a user has allowed a client, by resource server; '' for OpenID Connect. */
export async function findConsents(query: Query, accountId: string, clientId: string): Promise<Map<string, string[]>> {
  const { rows } = await query<{ resource_server: string; scopes: string[] }>(SQL.consents, [accountId, clientId]);
  return new Map(rows.map((row) => [row.resource_server, row.scopes]));
}

/** Adds to what was allowed before. */
export async function addConsent(
  query: Query,
  accountId: string,
  clientId: string,
  resourceServer: string,
  scopes: readonly string[],
): Promise<void> {
  await query(SQL.addConsent, [accountId, clientId, resourceServer, scopes]);
}

export async function removeConsentsOfUser(query: Query, accountId: string): Promise<number> {
  return (await query(SQL.removeConsents, [accountId])).rowCount;
}
