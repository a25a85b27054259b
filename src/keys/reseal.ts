// After a change of LANYARD_SECRET_KEY: seals stored keys and secrets again, in one transaction.
// Servers that run with the previous one go on with the keys in memory, and cannot read new ones.

import { recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { open, openWithOneOf, type SealingKeys, seal } from './seal.ts';
import { listKeys, lockKeys, resealKey } from './store.ts';

const SQL = {
  listSecrets: { name: 'installation_secret_list', text: 'SELECT name, sealed FROM installation_secrets FOR UPDATE' },
  resealSecret: {
    name: 'installation_secret_reseal',
    text: 'UPDATE installation_secrets SET sealed = $2 WHERE name = $1',
  },
};

/**
 * @param sealingKeys the new one and the previous one
 * @returns how many rows were sealed again
 * @throws Error when neither key decrypts a row; no row is changed then
 */
export async function resealStoredKeys(database: Database, sealingKeys: SealingKeys): Promise<number> {
  return database.transaction(async (query) => {
    await lockKeys(query);
    let count = 0;
    const reseal = async (name: string, sealed: string, store: (resealed: string) => Promise<unknown>) => {
      if (isSealedUnder(sealingKeys[0], name, sealed)) return;
      await store(seal(sealingKeys[0], name, openWithOneOf(sealingKeys, name, sealed)));
      count += 1;
    };
    for (const { kid, sealedPrivateJwk } of await listKeys(query)) {
      await reseal(kid, sealedPrivateJwk, (resealed) => resealKey(query, kid, resealed));
    }
    for (const { name, sealed } of await listSecrets(query)) {
      await reseal(name, sealed, (resealed) => query(SQL.resealSecret, [name, resealed]));
    }
    if (count > 0) {
      await recordAudit(query, { type: 'secret_key.changed', actor: 'system', detail: { resealed: count } });
    }
    return count;
  });
}

async function listSecrets(query: Query): Promise<{ name: string; sealed: string }[]> {
  return (await query<{ name: string; sealed: string }>(SQL.listSecrets, [])).rows;
}

function isSealedUnder(key: Buffer, name: string, sealed: string): boolean {
  try {
    open(key, name, sealed);
    return true;
  } catch {
    return false;
  }
}
