// Everything that is derived from LANYARD_SECRET_KEY, and the sealing of private keys under it: AES-256-GCM with a random
// 96-bit nonce per seal (NIST SP 800-38D), bound to what it seals by the additional data.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** The first seals, all open. */
export type SealingKeys = readonly [Buffer, ...Buffer[]];

export interface SecretKeys {
  /** for private keys */
  readonly sealingKeys: SealingKeys;
  /** The key that signs the cookies of a period, and whatever else is taken for it. Periods are numbered. */
  cookieKeys(period: number): readonly [string, ...string[]];
  /** makes the nonces of RFC 9449 §8, which every node must know again */
  readonly dpopNonceSecret: Buffer;
  /** seals what lives for minutes; with another one that is lost */
  readonly artifactKey: Buffer;
}

/**
 * HKDF (RFC 5869): one secret, independent keys per purpose.
 * @param previousSecretKey what it was before: opens and verifies, never seals or signs
 */
export function deriveKeys(secretKey: string, previousSecretKey?: string): SecretKeys {
  const secrets = previousSecretKey === undefined ? [secretKey] : [secretKey, previousSecretKey];
  const deriveAll = (purpose: string) => secrets.map((secret) => derive(secret, purpose)) as [Buffer, ...Buffer[]];
  return {
    sealingKeys: deriveAll('seal signing keys v1'),
    cookieKeys: (period) =>
      deriveAll(`sign cookies v2 ${period}`).map((key) => key.toString('base64url')) as [string, ...string[]],
    artifactKey: derive(secretKey, 'seal artifacts v1'),
    dpopNonceSecret: derive(secretKey, 'make DPoP nonces v1'),
  };
}

function derive(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'lanyard', purpose, 32));
}

const FORMAT = 'v1';

/** @param name what is sealed; a sealed text opens under the same name only */
export function seal(sealingKey: Buffer, name: string, plaintext: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce).setAAD(Buffer.from(name));
  const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return [FORMAT, nonce, ciphertext, cipher.getAuthTag()]
    .map((part) => (typeof part === 'string' ? part : part.toString('base64url')))
    .join('.');
}

/** @throws Error when the key or the name is another one, or when a bit has changed */
export function open(sealingKey: Buffer, name: string, sealed: string): string {
  const [format, nonce = '', ciphertext = '', tag = ''] = sealed.split('.');
  if (format !== FORMAT) throw new Error('unknown seal format');
  const decipher = createDecipheriv('aes-256-gcm', sealingKey, Buffer.from(nonce, 'base64url'), { authTagLength: 16 })
    .setAAD(Buffer.from(name))
    .setAuthTag(Buffer.from(tag, 'base64url'));
  return Buffer.concat([decipher.update(Buffer.from(ciphertext, 'base64url')), decipher.final()]).toString('utf8');
}

/** @throws Error when none of the keys opens it */
export function openWithOneOf(sealingKeys: SealingKeys, name: string, sealed: string): string {
  for (const previous of sealingKeys.slice(1)) {
    try {
      return open(previous, name, sealed);
    } catch {
      // The key of today has the last word.
    }
  }
  return open(sealingKeys[0], name, sealed);
}
