// What reverse proxies say about a request. X-Forwarded-* headers are used only when the peer is a trusted proxy. Each is a list, to
// which every proxy adds at the end; a client can begin it with what it likes. So they are read from the right, as far as the chain
// of trusted proxies reaches, which X-Forwarded-For shows. X-Forwarded-Proto decides nothing: the scheme is that of the issuer.

import type { IncomingMessage } from 'node:http';
import { isIP, isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface Forwarded {
  /** of the first one that is no trusted proxy */
  readonly clientAddress: string;
  /** the Host that the first trusted proxy got; undefined: none has said it */
  readonly host: string | undefined;
}

/** @param isTrusted whether an address is that of a trusted proxy */
export function readForwarded(
  { headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>,
  isTrusted: (address: string) => boolean,
): Forwarded {
  const peerAddress = socket.remoteAddress ?? '';
  let clientAddress = canonicalAddress(peerAddress) ?? peerAddress;
  if (!isTrusted(clientAddress)) return { clientAddress, host: undefined };
  const addresses = listOf(headers['x-forwarded-for']);
  let proxies = 1;
  for (const entry of addresses.reverse()) {
    const previous = canonicalAddress(withoutPort(entry));
    if (previous === undefined) break;
    clientAddress = previous;
    if (!isTrusted(previous)) break;
    proxies++;
  }
  const hosts = listOf(headers['x-forwarded-host']);
  // Proxies that replace the header make a shorter list, which then begins with the first of them.
  return { clientAddress, host: hosts[Math.max(0, hosts.length - proxies)] };
}

/** RFC 9110 §5.6.1.2: empty members do not count. Node has joined several headers by commas. */
function listOf(header: string | string[] | undefined): string[] {
  if (header === undefined) return [];
  return String(header)
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

/** One spelling for each address: `::ffff:192.0.2.1` is 192.0.2.1. */
function canonicalAddress(text: string): string | undefined {
  // Its only spelling, and that of most peers.
  if (isIPv4(text)) return text;
  // ipaddr.js also takes octal and shortened IPv4 addresses; isIP knows the usual spelling only.
  return isIP(text) === 0 ? undefined : ipaddr.process(text).toString();
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(entry: string): string {
  return entry.replace(/^([\d.]+):\d+$/, '$1').replace(/^\[(.*)\](?::\d+)?$/, '$1');
}
