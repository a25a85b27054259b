// Generates signing keys.

import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { type SealingKeys, seal } from './seal.ts';
import type { StoredKey } from './store.ts';

/** ML-DSA (FIPS 204) requires Node 24.6 with OpenSSL 3.5. */
export const POST_QUANTUM_ALGORITHMS = ['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] as const;
export const KEY_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'Ed25519', ...POST_QUANTUM_ALGORITHMS] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

const RSA_BITS = 2048;

export function isPostQuantum(alg: string): boolean {
  return POST_QUANTUM_ALGORITHMS.some((postQuantum) => postQuantum === alg);
}

/**
 * @param alg one of KEY_ALGORITHMS
 * @throws UnsupportedAlgorithmError when this Node does not support the algorithm
 */
export async function generateKey(
  alg: string,
  sealingKeys: SealingKeys,
  { activateAt = new Date(), isPublished = true }: { activateAt?: Date; isPublished?: boolean } = {},
): Promise<StoredKey> {
  const pair = await generatePair(alg);
  const publicJwk: JWK = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  const privateJwk = JSON.stringify(await exportJWK(pair.privateKey));
  return {
    kid,
    alg,
    publicJwk: { ...publicJwk, kid, alg, use: 'sig' },
    sealedPrivateJwk: seal(sealingKeys[0], kid, privateJwk),
    isPublished,
    activateAt,
    removeAt: undefined,
  };
}

export class UnsupportedAlgorithmError extends Error {}

async function generatePair(alg: string): ReturnType<typeof generateKeyPair> {
  try {
    return await generateKeyPair(alg, { extractable: true, modulusLength: RSA_BITS });
  } catch (cause) {
    throw new UnsupportedAlgorithmError(`Node ${process.version} cannot generate ${alg} keys`, { cause });
  }
}
