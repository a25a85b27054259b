// Reads and writes the table `signing_keys`.

import type { JWK } from 'jose';
import type { Query } from '../database/database.ts';

export interface StoredKey {
  readonly kid: string;
  readonly alg: string;
  readonly publicJwk: JWK;
  readonly sealedPrivateJwk: string;
  readonly isPublished: boolean;
  readonly activateAt: Date;
  /** undefined until a successor is scheduled */
  readonly removeAt: Date | undefined;
}

const COLUMNS = 'kid, alg, public_jwk, sealed_private_jwk, published, activate_at, remove_at';

const SQL = {
  list: {
    name: 'signing_key_list',
    text: `SELECT ${COLUMNS} FROM signing_keys
           WHERE remove_at IS NULL OR remove_at > now() ORDER BY activate_at DESC, kid`,
  },
  insert: {
    name: 'signing_key_insert',
    text: `INSERT INTO signing_keys (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
  },
  remove: { name: 'signing_key_remove', text: 'DELETE FROM signing_keys WHERE kid = $1' },
  removeOutdated: {
    name: 'signing_key_remove_outdated',
    text: 'DELETE FROM signing_keys WHERE remove_at <= now() RETURNING kid, alg',
  },
  hasOutdated: {
    name: 'signing_key_has_outdated',
    text: 'SELECT EXISTS (SELECT 1 FROM signing_keys WHERE remove_at <= now()) AS found',
  },
  publish: {
    name: 'signing_key_publish',
    text: 'UPDATE signing_keys SET published = true, activate_at = $2 WHERE kid = $1',
  },
  activate: { name: 'signing_key_activate', text: 'UPDATE signing_keys SET activate_at = $2 WHERE kid = $1' },
  // A key is published for $2 seconds after its successor becomes active. The date of a key with an
  // active successor does not change any more.
  setRemovals: {
    name: 'signing_key_set_removals',
    text: `UPDATE signing_keys k SET remove_at = s.next_at + make_interval(secs => $2)
           FROM (SELECT kid, lead(activate_at) OVER (ORDER BY activate_at, kid DESC) AS next_at
                 FROM signing_keys WHERE alg = $1 AND published) s
           WHERE k.kid = s.kid AND (k.remove_at IS NULL OR s.next_at IS NULL OR s.next_at > now())
             AND k.remove_at IS DISTINCT FROM s.next_at + make_interval(secs => $2)`,
  },
  reseal: { name: 'signing_key_reseal', text: 'UPDATE signing_keys SET sealed_private_jwk = $2 WHERE kid = $1' },
  // Two servers that start at once on an empty database must not both insert the first keys.
  lock: { name: 'signing_key_lock', text: 'LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE' },
};

interface Row {
  kid: string;
  alg: string;
  public_jwk: JWK;
  sealed_private_jwk: string;
  published: boolean;
  activate_at: Date;
  remove_at: Date | null;
}

/** Keys before their removal date, newest first. */
export async function listKeys(query: Query): Promise<StoredKey[]> {
  const { rows } = await query<Row>(SQL.list, []);
  return rows.map((row) => ({
    kid: row.kid,
    alg: row.alg,
    publicJwk: row.public_jwk,
    sealedPrivateJwk: row.sealed_private_jwk,
    isPublished: row.published,
    activateAt: row.activate_at,
    removeAt: row.remove_at ?? undefined,
  }));
}

export async function insertKey(query: Query, key: StoredKey): Promise<void> {
  const { kid, alg, publicJwk, sealedPrivateJwk, isPublished, activateAt, removeAt } = key;
  const values = [kid, alg, JSON.stringify(publicJwk), sealedPrivateJwk, isPublished, activateAt, removeAt ?? null];
  await query(SQL.insert, values);
}

export async function removeKey(query: Query, kid: string): Promise<void> {
  await query(SQL.remove, [kid]);
}

export async function hasOutdatedKeys(query: Query): Promise<boolean> {
  const { rows } = await query<{ found: boolean }>(SQL.hasOutdated, []);
  return rows[0]?.found === true;
}

/** @returns the keys that were removed after their removal date */
export async function removeOutdatedKeys(query: Query): Promise<{ kid: string; alg: string }[]> {
  return (await query<{ kid: string; alg: string }>(SQL.removeOutdated, [])).rows;
}

export async function publishKey(query: Query, kid: string, activateAt: Date): Promise<void> {
  await query(SQL.publish, [kid, activateAt]);
}

export async function setActivation(query: Query, kid: string, activateAt: Date): Promise<void> {
  await query(SQL.activate, [kid, activateAt]);
}

/** To be called after every change of an activation date. */
export async function setRemovals(query: Query, alg: string, keptSeconds: number): Promise<void> {
  await query(SQL.setRemovals, [alg, keptSeconds]);
}

export async function resealKey(query: Query, kid: string, sealedPrivateJwk: string): Promise<void> {
  await query(SQL.reseal, [kid, sealedPrivateJwk]);
}

/** No other transaction writes keys until this one ends. */
export async function lockKeys(query: Query): Promise<void> {
  await query(SQL.lock, []);
}
