// A new LANYARD_SECRET_KEY: what was sealed under the one before is sealed again, in one transaction. Servers that still run with
// the old key keep the keys they have; they cannot read these rows any more.

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
 * @param sealingKeys the new one and the one before
 * @returns how many seals were exchanged; 0 when all were new already
 * @throws Error when neither opens what is stored: nothing has changed then
 */
export async function resealStoredKeys(database: Database, sealingKeys: SealingKeys): Promise<number> {
  return database.transaction(async (query) => {
    await lockKeys(query);
    let resealed = 0;
    const reseal = async (name: string, sealed: string, store: (fresh: string) => Promise<unknown>) => {
      if (isSealedUnder(sealingKeys[0], name, sealed)) return;
      await store(seal(sealingKeys[0], name, openWithOneOf(sealingKeys, name, sealed)));
      resealed += 1;
    };
    for (const { kid, sealedPrivateJwk } of await listKeys(query)) {
      await reseal(kid, sealedPrivateJwk, (fresh) => resealKey(query, kid, fresh));
    }
    for (const { name, sealed } of await listSecrets(query)) {
      await reseal(name, sealed, (fresh) => query(SQL.resealSecret, [name, fresh]));
    }
    if (resealed > 0) {
      await recordAudit(query, { type: 'secret_key.changed', actor: 'system', detail: { resealed } });
    }
    return resealed;
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
