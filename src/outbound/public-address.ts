// Whether an IP address belongs to the public internet (IANA special-purpose address registries, RFC 6890).

import ipaddr from 'ipaddr.js';

/** Ranges of IPv6 that carry an IPv4 address inside: it is the one that counts, where it can be read. */
const CARRIERS = new Set(['ipv4Mapped', 'rfc6145', 'rfc6052', '6to4', 'teredo']);

export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address) || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  if (range === 'ipv4Mapped') return (parsed as ipaddr.IPv6).toIPv4Address().range() === 'unicast';
  // Whoever translates these for us is nearer to us than the public internet is.
  if (CARRIERS.has(range)) return false;
  return range === 'unicast';
}
