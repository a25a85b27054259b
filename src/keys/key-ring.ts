// The signing keys, stored in the database and sealed with LANYARD_SECRET_KEY. This folder owns
// their generation, rotation and storage, and derives the keys of cookies and nonces; the engine
// gets the current set from follow-keys.
//
// The dates of a key determine its state, so that all nodes change keys at the same time: `next`
// before its `activate_at` (published, does not sign), `active` after that (the newest one of its
// algorithm), `retired` once a newer one is active (published until `remove_at`). An `unpublished`
// key is not used.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { JWK } from 'jose';
import { recordAudit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import { generateKey } from './generate-key.ts';
import { openWithOneOf, type SealingKeys } from './seal.ts';
import { insertKey, listKeys, lockKeys, type StoredKey } from './store.ts';

export const ACCESS_TOKEN_ALGORITHM = 'ES256';

/** By default ES256 signs access tokens, and RS256 ID tokens, which libraries expect. */
export const BASIC_ALGORITHMS = [ACCESS_TOKEN_ALGORITHM, 'RS256'] as const;

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
  /**
   * the published ones; the engine signs with the first one that has the right algorithm. Those for
   * access tokens come first: some libraries try one key after the other, and give up at the first of
   * another type.
   */
  readonly signingKeys: SigningKey[];
  /** the error of the first key that could not be decrypted, which is left out */
  readonly fault: unknown;
}

/**
 * Reads the keys at start. Generates the first ones.
 * @throws Error when LANYARD_SECRET_KEY does not decrypt the keys
 */
export async function loadSigningKeys(database: Database, sealingKeys: SealingKeys): Promise<SigningKey[]> {
  const { signingKeys, fault } = await readSigningKeys(database, sealingKeys, []);
  if (fault !== undefined) throw fault;
  return signingKeys;
}

/** @param inUse the decrypted keys of this process; another secret key may seal them by now */
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
  let fault: unknown;
  const opened = published.flatMap((key) => {
    try {
      const privateJwk = inUse.find(({ kid }) => kid === key.kid)?.privateJwk ?? openPrivateJwk(key, sealingKeys);
      return [{ ...key, privateJwk }];
    } catch (error) {
      fault ??= error;
      return [];
    }
  });
  const signingKeys = withStates(opened, new Date()).map(({ key, state }) => ({
    kid: key.kid,
    alg: key.alg,
    state,
    publicJwk: key.publicJwk,
    privateJwk: key.privateJwk,
    activateAt: key.activateAt,
    removeAt: key.removeAt,
  }));
  const rank = ({ alg }: SigningKey) => (alg === ACCESS_TOKEN_ALGORITHM ? 0 : 1);
  return { signingKeys: signingKeys.sort((a, b) => rank(a) - rank(b)), fault };
}

/** Active keys first, then retired, next and unpublished ones. */
export function withStates<Key extends StoredKey>(keys: readonly Key[], now: Date): { key: Key; state: KeyState }[] {
  const newestFirst = [...keys].sort((a, b) => b.activateAt.getTime() - a.activateAt.getTime());
  const withActive = new Set<string>();
  const states = newestFirst.map((key): { key: Key; state: KeyState } => {
    const state = stateOfNewest(key, now);
    if (state !== 'active') return { key, state };
    if (withActive.has(key.alg)) return { key, state: 'retired' };
    withActive.add(key.alg);
    return { key, state };
  });
  const rank = { active: 0, retired: 1, next: 2, unpublished: 3 };
  return states.sort((a, b) => rank[a.state] - rank[b.state]);
}

/** The state of the newest key of an algorithm. */
export function stateOfNewest({ isPublished, activateAt }: StoredKey, now: Date): Exclude<KeyState, 'retired'> {
  if (!isPublished) return 'unpublished';
  return activateAt > now ? 'next' : 'active';
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
      'LANYARD_SECRET_KEY does not decrypt the signing keys in the database: use the same key as before, or set the ' +
        'previous one as LANYARD_SECRET_KEY_PREVIOUS',
      { cause },
    );
  }
  const privateJwk = JSON.parse(text);
  // Throws for a key that this Node does not support, so that only this one is left out.
  createPublicKey({ key: key.publicJwk, format: 'jwk' });
  createPrivateKey({ key: privateJwk, format: 'jwk' });
  return { ...privateJwk, kid: key.kid, alg: key.alg, use: 'sig' };
}
