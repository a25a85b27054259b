// Secrets that belong to the installation for ever: made at the first start, sealed in the database like the signing keys. What
// may change together with LANYARD_SECRET_KEY is derived from that instead (seal.ts).

import { randomBytes } from 'node:crypto';
import type { Query } from '../database/database.ts';
import { openWithOneOf, type SealingKeys, seal } from './seal.ts';

const SQL = {
  // Of several servers that start at once, the first decides.
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
  const found = await find(query, name);
  if (found !== undefined) return openWithOneOf(sealingKeys, name, found);
  await query(SQL.insert, [name, seal(sealingKeys[0], name, randomBytes(32).toString('base64url'))]);
  return openWithOneOf(sealingKeys, name, (await find(query, name)) as string);
}

async function find(query: Query, name: string): Promise<string | undefined> {
  const { rows } = await query<{ sealed: string }>(SQL.find, [name]);
  return rows[0]?.sealed;
}
