// Whether an IP address belongs to the public internet (IANA special-purpose address registries, RFC 6890).

import ipaddr from 'ipaddr.js';

/** Addresses that look public and lead to the platform underneath (Azure calls it WireServer). */
const PLATFORMS = new Set(['168.63.129.16']);

/** What is assigned to the public internet so far (RFC 4291 §2.4, IANA): everything else of IPv6 is special, or unknown to us. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address) || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv4) return isPublicIPv4(parsed);
  if (parsed.isIPv4MappedAddress()) return isPublicIPv4(parsed.toIPv4Address());
  // Ranges that carry an IPv4 address for somebody to translate (NAT64, 6to4, Teredo) have names of their own: whoever does it is
  // nearer to us than the public internet is.
  return parsed.match(GLOBAL_UNICAST) && parsed.range() === 'unicast';
}

function isPublicIPv4(address: ipaddr.IPv4): boolean {
  return address.range() === 'unicast' && !PLATFORMS.has(address.toString());
}
