// Everything that is derived from LANYARD_SECRET_KEY, and the sealing of private keys under it: AES-256-GCM with a random
// 96-bit nonce per seal (NIST SP 800-38D), bound to what it seals by the additional data.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

export interface SecretKeys {
  /** seals and opens private keys */
  readonly sealingKey: Buffer;
  /** sign the cookies; the first signs, all verify */
  readonly cookieKeys: readonly string[];
  /** makes the nonces of RFC 9449 §8, which every node must know again */
  readonly dpopNonceSecret: Buffer;
  /** seals what lives for minutes; with another one that is lost */
  readonly artifactKey: Buffer;
}

/** HKDF (RFC 5869): one secret, independent keys per purpose. */
export function deriveKeys(secretKey: string): SecretKeys {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secretKey, 'lanyard', purpose, 32));
  return {
    sealingKey: derive('seal signing keys v1'),
    cookieKeys: [derive('sign cookies v1').toString('base64url')],
    artifactKey: derive('seal artifacts v1'),
    dpopNonceSecret: derive('make DPoP nonces v1'),
  };
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
