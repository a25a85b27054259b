// Secrets that never change: generated at the first start and stored in the database, sealed like
// the signing keys. Secrets that may change with LANYARD_SECRET_KEY are derived from it (seal.ts).

import { randomBytes } from 'node:crypto';
import type { Query } from '../database/database.ts';
import { openWithOneOf, type SealingKeys, seal } from './seal.ts';

const SQL = {
  // If several servers start at once, the first insert wins.
  insert: {
    name: 'installation_secret_insert',
    text: 'INSERT INTO installation_secrets (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING',
  },
  find: { name: 'installation_secret_find', text: 'SELECT sealed FROM installation_secrets WHERE name = $1' },
};

/** @returns 256 random bits in base64url, the same at every start */
export async function loadInstallationSecret(
  query: Query,
  sealingKeys: SealingKeys,
  name: 'pairwise',
): Promise<string> {
  const stored = await find(query, name);
  if (stored !== undefined) return openWithOneOf(sealingKeys, name, stored);
  await query(SQL.insert, [name, seal(sealingKeys[0], name, randomBytes(32).toString('base64url'))]);
  const inserted = await find(query, name);
  if (inserted === undefined) throw new Error(`the installation secret ${name} was not stored`);
  return openWithOneOf(sealingKeys, name, inserted);
}

async function find(query: Query, name: string): Promise<string | undefined> {
  const { rows } = await query<{ sealed: string }>(SQL.find, [name]);
  return rows[0]?.sealed;
}
