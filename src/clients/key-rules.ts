// Public keys of clients (RFC 7517): which are accepted, and what of them is kept. The key decides
// what each verification costs.

import type { FaultyMember } from '../errors.ts';

/** At registration. A client has the key that it uses, and the next or the last one. */
export const MAX_KEYS = 10;
/** In a document at `jwks_uri`, which may be that of several clients. */
const MAX_FETCHED_KEYS = 50;

/** NIST SP 800-131A: less is too weak. A verification with 16,384 bits takes thirty milliseconds. */
const RSA_BITS = { least: 2_048, most: 4_096 };
/** Nobody uses another one than 65537; one as long as the modulus makes a verification as slow as a signature. */
const MAX_EXPONENT_BYTES = 4;

/** RFC 7517 §4, RFC 7518 §6, RFC 8037 §2. Private ones stay, because they are refused later. */
const MEMBERS: ReadonlySet<string> = new Set([
  ...['kty', 'use', 'key_ops', 'alg', 'kid', 'x5u', 'x5c', 'x5t', 'x5t#S256', 'crv', 'x', 'y', 'n', 'e', 'pub'],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'],
]);

type Jwk = Readonly<Record<string, unknown>>;

/** RFC 7517 §4: "Additional members can be present in the JWK; if not understood by implementations encountering them, they MUST be ignored." */
export function withKnownMembers<Key extends Jwk>(keys: readonly Key[]): Key[] {
  return keys.map((key) => Object.fromEntries(Object.entries(key).filter(([name]) => MEMBERS.has(name))) as Key);
}

/** @returns why a key is not accepted; undefined if it is, or if the engine says what is wrong with it */
export function whyKeyFails({ kty, n, e }: Jwk): string | undefined {
  if (kty !== 'RSA' || typeof n !== 'string' || typeof e !== 'string') return undefined;
  const bits = bitsOf(n);
  if (bits < RSA_BITS.least || bits > RSA_BITS.most) {
    return `must have ${RSA_BITS.least} to ${RSA_BITS.most} bits, not ${bits}`;
  }
  return bitsOf(e) > MAX_EXPONENT_BYTES * 8 ? 'must have an exponent (e) below 2^32' : undefined;
}

export function keyFaults(keys: readonly Jwk[]): FaultyMember[] {
  const faults = keys.flatMap((key, index) => {
    const detail = whyKeyFails(key);
    return detail === undefined ? [] : [{ pointer: `/jwks/keys/${index}`, detail: `the key ${detail}` }];
  });
  // OpenID Connect Core §10.1: of several keys the signature names one.
  const nameless = keys.length > 1 ? keys.findIndex(({ kid }) => typeof kid !== 'string') : -1;
  if (nameless !== -1) {
    faults.push({ pointer: `/jwks/keys/${nameless}/kid`, detail: 'each of several keys needs a kid' });
  }
  return faults;
}

/**
 * RFC 7517 §5: JWKs whose "values are out of the supported ranges" are ignored.
 * @param document that was fetched; not changed if it is no JWK Set
 * @throws TypeError when there are too many
 */
export function usableKeys(document: unknown): unknown {
  const { keys } = (document ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys) || !keys.every(isJwk)) return document;
  if (keys.length > MAX_FETCHED_KEYS) throw new TypeError(`it has more than ${MAX_FETCHED_KEYS} keys`);
  return { keys: withKnownMembers(keys.filter((key) => whyKeyFails(key) === undefined)) };
}

function isJwk(key: unknown): key is Jwk {
  return typeof key === 'object' && key !== null && !Array.isArray(key);
}

/** Of a number in base64url. */
function bitsOf(encoded: string): number {
  const bytes = Buffer.from(encoded, 'base64url');
  const first = bytes.findIndex((byte) => byte !== 0);
  return first === -1 ? 0 : (bytes.length - first) * 8 - (Math.clz32(bytes[first] as number) - 24);
}
