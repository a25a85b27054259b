// Whether the peer of a connection is one of the configured trusted proxies.

import { BlockList, isIP } from 'node:net';

/** The list does not change, and a proxy sends many requests. */
const MAX_KNOWN = 1_000;

/**
 * @param entries addresses and CIDR ranges, of both families
 * @throws TypeError naming what is neither
 */
export function toPeerCheck(entries: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits, ...rest] = entry.split('/');
    const isEntry = isIP(address) !== 0 && rest.length === 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
    if (!isEntry) throw new TypeError(`"${entry}" is not an IP address or CIDR range`);
    if (bits === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(bits), familyOf(address));
  }
  const known = new Map<string, boolean>();
  return (address) => {
    const isListed = known.get(address) ?? isIn(list, address);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(address, isListed);
    return isListed;
  };
}

function isIn(list: BlockList, address: string): boolean {
  // `::ffff:192.0.2.1` is 192.0.2.1. The zone of a link-local address is not part of it.
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*/, '');
  return isIP(plain) !== 0 && list.check(plain, familyOf(plain));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
