// Rows of `signing_keys`.

import type { Query } from '../database/database.ts';

export interface StoredKey {
  readonly kid: string;
  readonly alg: string;
  readonly publicJwk: Record<string, unknown>;
  readonly sealedPrivateJwk: string;
  readonly activateAt: Date;
  readonly removeAt: Date | undefined;
}

const SQL = {
  list: {
    name: 'signing_key_list',
    text: `SELECT kid, alg, public_jwk, sealed_private_jwk, activate_at, remove_at FROM signing_keys
           WHERE remove_at IS NULL OR remove_at > now() ORDER BY activate_at DESC, kid`,
  },
  insert: {
    name: 'signing_key_insert',
    text: `INSERT INTO signing_keys (kid, alg, public_jwk, sealed_private_jwk, activate_at) VALUES ($1, $2, $3, $4, $5)`,
  },
  // Two servers that start at once on an empty database must not both make the first keys.
  lock: { name: 'signing_key_lock', text: 'LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE' },
};

interface Row {
  kid: string;
  alg: string;
  public_jwk: Record<string, unknown>;
  sealed_private_jwk: string;
  activate_at: Date;
  remove_at: Date | null;
}

/** The keys that are still published, newest first. */
export async function listKeys(query: Query): Promise<StoredKey[]> {
  const { rows } = await query<Row>(SQL.list, []);
  return rows.map((row) => ({
    kid: row.kid,
    alg: row.alg,
    publicJwk: row.public_jwk,
    sealedPrivateJwk: row.sealed_private_jwk,
    activateAt: row.activate_at,
    removeAt: row.remove_at ?? undefined,
  }));
}

export async function insertKey(query: Query, key: StoredKey): Promise<void> {
  await query(SQL.insert, [key.kid, key.alg, JSON.stringify(key.publicJwk), key.sealedPrivateJwk, key.activateAt]);
}

/** Nobody else adds a key before this transaction ends. */
export async function lockKeys(query: Query): Promise<void> {
  await query(SQL.lock, []);
}
