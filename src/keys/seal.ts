// The keys derived from LANYARD_SECRET_KEY, and the encryption (sealing) of stored private keys:
// AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D) and the name as additional data.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** The first one encrypts, all of them decrypt. */
export type SealingKeys = readonly [Buffer, ...Buffer[]];

export interface SecretKeys {
  /** for private keys */
  readonly sealingKeys: SealingKeys;
  /** The first one signs the cookies of a numbered rotation period, all of them verify. */
  cookieKeys(period: number): readonly [string, ...string[]];
  /** for the nonces of RFC 9449 §8, which every node must accept */
  readonly dpopNonceSecret: Buffer;
  /** seals artifacts of a few minutes, which are lost when LANYARD_SECRET_KEY changes */
  readonly artifactKey: Buffer;
}

/**
 * Derives one independent key per purpose with HKDF (RFC 5869).
 * @param previousSecretKey decrypts and verifies, never encrypts or signs
 */
export function deriveKeys(secretKey: string, previousSecretKey?: string): SecretKeys {
  const previous = previousSecretKey === undefined ? [] : [previousSecretKey];
  const deriveAll = (purpose: string): SealingKeys => [
    derive(secretKey, purpose),
    ...previous.map((secret) => derive(secret, purpose)),
  ];
  return {
    sealingKeys: deriveAll('seal signing keys v1'),
    cookieKeys(period) {
      const [first, ...others] = deriveAll(`sign cookies v2 ${period}`);
      return [first.toString('base64url'), ...others.map((key) => key.toString('base64url'))];
    },
    artifactKey: derive(secretKey, 'seal artifacts v1'),
    dpopNonceSecret: derive(secretKey, 'make DPoP nonces v1'),
  };
}

function derive(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'lanyard', purpose, 32));
}

const FORMAT = 'v1';

/** @param name of the plaintext; it can be decrypted with the same name only */
export function seal(sealingKey: Buffer, name: string, plaintext: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce).setAAD(Buffer.from(name));
  const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return [FORMAT, nonce, ciphertext, cipher.getAuthTag()]
    .map((part) => (typeof part === 'string' ? part : part.toString('base64url')))
    .join('.');
}

/** @throws Error for another key or name, or a ciphertext that was changed */
export function open(sealingKey: Buffer, name: string, sealed: string): string {
  const [format, nonce = '', ciphertext = '', tag = ''] = sealed.split('.');
  if (format !== FORMAT) throw new Error('unknown seal format');
  const decipher = createDecipheriv('aes-256-gcm', sealingKey, Buffer.from(nonce, 'base64url'), { authTagLength: 16 })
    .setAAD(Buffer.from(name))
    .setAuthTag(Buffer.from(tag, 'base64url'));
  return Buffer.concat([decipher.update(Buffer.from(ciphertext, 'base64url')), decipher.final()]).toString('utf8');
}

/** @throws Error when none of the keys decrypts it */
export function openWithOneOf(sealingKeys: SealingKeys, name: string, sealed: string): string {
  for (const previous of sealingKeys.slice(1)) {
    try {
      return open(previous, name, sealed);
    } catch {
      // The current key is tried last, so that its error is the one that is thrown.
    }
  }
  return open(sealingKeys[0], name, sealed);
}
