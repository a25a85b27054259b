// The identifier of a resource server, and the spellings under which clients ask for it (RFC 8707
// §2). It is registered in its normal form, and is the audience of tokens as it was registered.

import { LRUCache } from 'lru-cache';

/**
 * What libraries make of a URL (RFC 3986 §6.2.2, §6.2.3; WHATWG URL): scheme and host in small
 * letters, the host of an IDN in Punycode, no default port, no dot segments, "/" for an empty path.
 */
export function normalForm(identifier: string): string {
  return URL.parse(identifier)?.href ?? identifier;
}

/** Whether both name the same resource server. */
export function isSameIdentifier(one: string, other: string): boolean {
  return one === other || normalForm(one) === normalForm(other);
}

/**
 * The one other normal spelling of an identifier: an empty path and "/" are equivalent for http(s)
 * (RFC 3986 §6.2.3), and both may be registered.
 */
export function otherSpelling(identifier: string): string {
  const url = URL.parse(identifier);
  if (url === null || !/^https?:$/.test(url.protocol)) return identifier;
  if (identifier === `${url.protocol}//${url.host}`) return `${identifier}/`;
  if (identifier === `${url.protocol}//${url.host}/`) return identifier.slice(0, -1);
  return identifier;
}

export function spellings(identifier: string): string[] {
  return [...new Set([identifier, otherSpelling(identifier)])];
}

/** Every request asks, and parsing a URL is slow. */
const canonical = new LRUCache<string, string>({ max: 2_000 });

/** One spelling for both, as a cache key. */
export function canonicalSpelling(identifier: string): string {
  // With a path there is no other spelling.
  const slash = identifier.indexOf('/', identifier.indexOf('://') + 3);
  if (slash !== -1 && slash < identifier.length - 1) return identifier;
  const known = canonical.get(identifier);
  if (known !== undefined) return known;
  const [first] = spellings(identifier).sort() as [string];
  canonical.set(identifier, first);
  return first;
}
