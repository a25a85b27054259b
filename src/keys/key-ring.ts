// The signing keys of this server: one for each algorithm at the first start, sealed in the database. A key is `next` before
// its `activate_at` (published, not signing), `active` when it is the newest of its algorithm after that, and `retired`
// (published until `remove_at`) once a newer one has become active. Rotation while the server runs is a later issue; the order
// and the states are here so that it only has to add rows.

import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { recordAudit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import { open, seal } from './seal.ts';
import { insertKey, listKeys, lockKeys, type StoredKey } from './store.ts';

/** ES256 signs access tokens and, unless the client asked for RS256, ID tokens. */
const ALGORITHMS = ['ES256', 'RS256'] as const;
const RSA_BITS = 2048;

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly state: 'next' | 'active' | 'retired';
  readonly publicJwk: JWK;
  readonly privateJwk: JWK;
}

/**
 * The published keys in the order in which the engine must see them: it signs with the first that fits.
 * Makes the first keys if there are none.
 * @throws Error when LANYARD_SECRET_KEY is not the one under which the keys were sealed
 */
export async function loadSigningKeys(database: Database, sealingKey: Buffer): Promise<SigningKey[]> {
  const stored = await listKeys(database.query);
  const missing = ALGORITHMS.filter((alg) => !stored.some((key) => key.alg === alg));
  const keys = missing.length === 0 ? stored : await addFirstKeys(database, sealingKey);
  return inSigningOrder(keys, new Date()).map(({ key, state }) => ({
    kid: key.kid,
    alg: key.alg,
    state,
    publicJwk: key.publicJwk as JWK,
    privateJwk: openPrivateJwk(key, sealingKey),
  }));
}

/** Active keys first, then retired ones, then those that wait. */
function inSigningOrder(
  keys: readonly StoredKey[],
  now: Date,
): { key: StoredKey; state: 'next' | 'active' | 'retired' }[] {
  const newestFirst = [...keys].sort((a, b) => b.activateAt.getTime() - a.activateAt.getTime());
  const withActive = new Set<string>();
  const states = newestFirst.map((key) => {
    if (key.activateAt > now) return { key, state: 'next' as const };
    if (withActive.has(key.alg)) return { key, state: 'retired' as const };
    withActive.add(key.alg);
    return { key, state: 'active' as const };
  });
  const rank = { active: 0, retired: 1, next: 2 };
  return states.sort((a, b) => rank[a.state] - rank[b.state]);
}

async function addFirstKeys(database: Database, sealingKey: Buffer): Promise<StoredKey[]> {
  return database.transaction(async (query) => {
    await lockKeys(query);
    const present = await listKeys(query);
    for (const alg of ALGORITHMS) {
      if (present.some((key) => key.alg === alg)) continue;
      const key = await generateKey(alg, sealingKey);
      await insertKey(query, key);
      await recordAudit(query, { type: 'signing_key.created', actor: 'system', detail: { kid: key.kid, alg } });
    }
    return listKeys(query);
  });
}

async function generateKey(alg: string, sealingKey: Buffer): Promise<StoredKey> {
  const pair = await generateKeyPair(alg, { extractable: true, modulusLength: RSA_BITS });
  const publicJwk: JWK = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  const privateJwk = JSON.stringify(await exportJWK(pair.privateKey));
  return {
    kid,
    alg,
    publicJwk: { ...publicJwk, kid, alg, use: 'sig' },
    sealedPrivateJwk: seal(sealingKey, kid, privateJwk),
    activateAt: new Date(),
    removeAt: undefined,
  };
}

function openPrivateJwk(key: StoredKey, sealingKey: Buffer): JWK {
  let text: string;
  try {
    text = open(sealingKey, key.kid, key.sealedPrivateJwk);
  } catch (cause) {
    throw new Error('LANYARD_SECRET_KEY does not open the signing keys in the database: it must stay the same', {
      cause,
    });
  }
  return { ...JSON.parse(text), kid: key.kid, alg: key.alg, use: 'sig' };
}
