// The signing keys of this server, sealed in the database. What a key is to be used for follows from its dates, so that all nodes
// change over by the clock: it is `next` before its `activate_at` (published, not signing), `active` when it is the newest of its
// algorithm after that, and `retired` (published until its `remove_at`) once a newer one has become active. One that nobody has
// asked to publish is `unpublished`, and does nothing.

import { createPrivateKey, createPublicKey } from 'node:crypto';
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

export interface ReadKeys {
  /** the published ones, in the order in which the engine must see them: it signs with the first that fits */
  readonly signingKeys: SigningKey[];
  /** of the first that did not open; it is not among the others */
  readonly fault: Error | undefined;
}

/**
 * For the start. Makes the first keys if there are none.
 * @throws Error when LANYARD_SECRET_KEY is not the one under which the keys were sealed
 */
export async function loadSigningKeys(database: Database, sealingKeys: SealingKeys): Promise<SigningKey[]> {
  const { signingKeys, fault } = await readSigningKeys(database, sealingKeys, []);
  if (fault !== undefined) throw fault;
  return signingKeys;
}

/** @param inUse what this process has opened before, and need not open again: another secret key may seal it by now */
export async function readSigningKeys(
  database: Database,
  sealingKeys: SealingKeys,
  inUse: readonly SigningKey[],
): Promise<ReadKeys> {
  const stored = await listKeys(database.query);
  const missing = BASIC_ALGORITHMS.filter((alg) => !stored.some((key) => key.alg === alg && key.isPublished));
  const published = (missing.length === 0 ? stored : await addFirstKeys(database, sealingKeys)).filter(
    ({ isPublished }) => isPublished,
  );
  let fault: Error | undefined;
  const opened = published.flatMap((key) => {
    try {
      const privateJwk = inUse.find(({ kid }) => kid === key.kid)?.privateJwk ?? openPrivateJwk(key, sealingKeys);
      return [{ ...key, privateJwk }];
    } catch (error) {
      fault ??= error as Error;
      return [];
    }
  });
  const signingKeys = withStates(opened, new Date()).map(({ key, state }) => ({
    kid: key.kid,
    alg: key.alg,
    state,
    publicJwk: key.publicJwk as JWK,
    privateJwk: key.privateJwk,
    activateAt: key.activateAt,
    removeAt: key.removeAt,
  }));
  return { signingKeys, fault };
}

/** Active keys first, then retired ones, then those that wait. */
export function withStates<Key extends StoredKey>(keys: readonly Key[], now: Date): { key: Key; state: KeyState }[] {
  const newestFirst = [...keys].sort((a, b) => b.activateAt.getTime() - a.activateAt.getTime());
  const withActive = new Set<string>();
  const states = newestFirst.map((key): { key: Key; state: KeyState } => {
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
  const privateJwk = JSON.parse(text);
  // One that this Node cannot read must not keep the others from being followed.
  createPublicKey({ key: key.publicJwk as JWK, format: 'jwk' });
  createPrivateKey({ key: privateJwk, format: 'jwk' });
  return { ...privateJwk, kid: key.kid, alg: key.alg, use: 'sig' };
}
