// Whether an IP address belongs to the public internet (IANA special-purpose address registries,
// RFC 6890).

import ipaddr from 'ipaddr.js';

/** Addresses that look public and belong to the cloud platform (Azure WireServer). */
const PLATFORMS = new Set(['168.63.129.16']);

/** RFC 4291 §2.4, IANA: the rest of IPv6 is special or not assigned. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address) || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv4) return isPublicIPv4(parsed);
  if (parsed.isIPv4MappedAddress()) return isPublicIPv4(parsed.toIPv4Address());
  // ipaddr.js has names of their own for the ranges that carry an IPv4 address (NAT64, 6to4,
  // Teredo): a translator in our own network could turn them into a private address.
  return parsed.match(GLOBAL_UNICAST) && parsed.range() === 'unicast';
}

function isPublicIPv4(address: ipaddr.IPv4): boolean {
  return address.range() === 'unicast' && !PLATFORMS.has(address.toString());
}
