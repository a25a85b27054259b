// The signing keys of this server, sealed in the database. What a key is to be used for follows from its dates, so that all nodes
// change over by the clock: it is `next` before its `activate_at` (published, not signing), `active` when it is the newest of its
// algorithm after that, and `retired` (published until its `remove_at`) once a newer one has become active. One that nobody has
// asked to publish is `unpublished`, and does nothing.

import type { JWK } from 'jose';
import { recordAudit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import { generateKey } from './generate-key.ts';
import { openWithOneOf, type SealingKeys } from './seal.ts';
import { insertKey, listKeys, lockKeys, type StoredKey } from './store.ts';

/** ES256 signs access tokens and, unless the client asked for another one, ID tokens; RS256 is what every library knows. */
export const BASIC_ALGORITHMS = ['ES256', 'RS256'] as const;

export type KeyState = 'unpublished' | 'next' | 'active' | 'retired';

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly state: KeyState;
  readonly publicJwk: JWK;
  readonly privateJwk: JWK;
  readonly activateAt: Date;
  readonly removeAt: Date | undefined;
}

/**
 * The published keys in the order in which the engine must see them: it signs with the first that fits.
 * Makes the first keys if there are none.
 * @throws Error when LANYARD_SECRET_KEY is not the one under which the keys were sealed
 */
export async function loadSigningKeys(database: Database, sealingKeys: SealingKeys): Promise<SigningKey[]> {
  const stored = await listKeys(database.query);
  const missing = BASIC_ALGORITHMS.filter((alg) => !stored.some((key) => key.alg === alg && key.isPublished));
  const keys = missing.length === 0 ? stored : await addFirstKeys(database, sealingKeys);
  return withStates(keys, new Date())
    .filter(({ state }) => state !== 'unpublished')
    .map(({ key, state }) => ({
      kid: key.kid,
      alg: key.alg,
      state,
      publicJwk: key.publicJwk as JWK,
      privateJwk: openPrivateJwk(key, sealingKeys),
      activateAt: key.activateAt,
      removeAt: key.removeAt,
    }));
}

/** Active keys first, then retired ones, then those that wait. */
export function withStates(keys: readonly StoredKey[], now: Date): { key: StoredKey; state: KeyState }[] {
  const newestFirst = [...keys].sort((a, b) => b.activateAt.getTime() - a.activateAt.getTime());
  const withActive = new Set<string>();
  const states = newestFirst.map((key): { key: StoredKey; state: KeyState } => {
    if (!key.isPublished) return { key, state: 'unpublished' };
    if (key.activateAt > now) return { key, state: 'next' };
    if (withActive.has(key.alg)) return { key, state: 'retired' };
    withActive.add(key.alg);
    return { key, state: 'active' };
  });
  const rank = { active: 0, retired: 1, next: 2, unpublished: 3 };
  return states.sort((a, b) => rank[a.state] - rank[b.state]);
}

async function addFirstKeys(database: Database, sealingKeys: SealingKeys): Promise<StoredKey[]> {
  return database.transaction(async (query) => {
    await lockKeys(query);
    const present = await listKeys(query);
    for (const alg of BASIC_ALGORITHMS) {
      if (present.some((key) => key.alg === alg && key.isPublished)) continue;
      const key = await generateKey(alg, sealingKeys);
      await insertKey(query, key);
      await recordAudit(query, { type: 'signing_key.created', actor: 'system', detail: { kid: key.kid, alg } });
    }
    return listKeys(query);
  });
}

function openPrivateJwk(key: StoredKey, sealingKeys: SealingKeys): JWK {
  let text: string;
  try {
    text = openWithOneOf(sealingKeys, key.kid, key.sealedPrivateJwk);
  } catch (cause) {
    throw new Error(
      'LANYARD_SECRET_KEY does not open the signing keys in the database: it must stay the same, or the one before must ' +
        'be given as LANYARD_SECRET_KEY_PREVIOUS',
      { cause },
    );
  }
  return { ...JSON.parse(text), kid: key.kid, alg: key.alg, use: 'sig' };
}
