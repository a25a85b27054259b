// Entity tags of documents that are kept as they are sent (RFC 9110 §8.8.3), and the condition under
// which such a document is not sent again.

import { createHash } from 'node:crypto';

/** 132 bits of the digest: equal bytes have one tag, at every node. */
const TAG_CHARACTERS = 22;

/** A strong one. */
export function entityTagOf(content: string | Uint8Array): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, TAG_CHARACTERS)}"`;
}

/**
 * RFC 9110 §13.1.2: whether the client has what it asks for. The comparison is weak, since caches and
 * compressing proxies make a weak tag of ours.
 * @param ifNoneMatch the header if there is one: `*`, or a list of tags
 */
export function isKnownToClient(ifNoneMatch: unknown, entityTag: string): boolean {
  if (typeof ifNoneMatch !== 'string') return false;
  if (ifNoneMatch.trim() === '*') return true;
  // A tag may contain commas.
  return ifNoneMatch.match(/"[^"]*"/g)?.includes(entityTag) ?? false;
}
