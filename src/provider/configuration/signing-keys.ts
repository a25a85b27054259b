// How the engine signs: each key is an object that signs by itself (`externalSigningSupport`), so
// that the private key is no part of the engine's configuration. All signatures of one turn of the
// event loop go to the thread pool together: one by one, each would wake a thread that takes the
// core from the main thread.

import { createPrivateKey, createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';
import { ExternalSigningKey } from 'oidc-provider';
import type { SigningKey } from '../../keys/key-ring.ts';

type Algorithm =
  | (webcrypto.EcKeyImportParams & webcrypto.EcdsaParams)
  | (webcrypto.RsaHashedImportParams & Partial<webcrypto.RsaPssParams>)
  | webcrypto.Algorithm;

/** The algorithms of RFC 7518 §3.1 in Web Cryptography, where their names differ. */
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 },
};

export class BatchSigningKey extends ExternalSigningKey {
  readonly #key: Pick<SigningKey, 'kid' | 'alg'>;
  readonly #publicKey: KeyObject;
  readonly #privateKey: webcrypto.CryptoKey;
  readonly #algorithm: Algorithm;

  constructor(key: Pick<SigningKey, 'kid' | 'alg' | 'publicJwk' | 'privateJwk'>) {
    super();
    const { kid, alg } = key;
    this.#key = { kid, alg };
    this.#algorithm = ALGORITHMS[alg] ?? { name: alg };
    this.#publicKey = createPublicKey({ key: key.publicJwk, format: 'jwk' });
    const privateKey = createPrivateKey({ key: key.privateJwk, format: 'jwk' });
    this.#privateKey = privateKey.toCryptoKey(this.#algorithm, false, ['sign']);
  }

  override get kid(): string {
    return this.#key.kid;
  }

  override get alg(): string {
    return this.#key.alg;
  }

  override keyObject(): KeyObject {
    return this.#publicKey;
  }

  /** @returns the signature as a JWS has it (RFC 7518 §3) */
  override async sign(data: Uint8Array): Promise<Uint8Array> {
    await endOfTurn();
    return new Uint8Array(await crypto.subtle.sign(this.#algorithm, this.#privateKey, data));
  }
}

let turn: Promise<void> | undefined;

/**
 * Resolves all promises of this turn of the event loop one after the other, with nothing in
 * between.
 */
function endOfTurn(): Promise<void> {
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve();
    });
  });
  return turn;
}
