// What a reverse proxy may say about a request. X-Forwarded-* headers are used only when the peer
// is a trusted proxy. They are rewritten to one value each, so that Koa and the engine can read
// them without asking again. The Host is checked here too: the engine builds absolute URLs from it,
// and a foreign one would put an attacker's address into the discovery document.

import type { IncomingMessage } from 'node:http';
import { isIP, isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface ProxyHeadersOptions {
  /** those that this server answers for, the issuer first */
  readonly origins: readonly [string, ...string[]];
  /** whether a peer is a trusted proxy */
  readonly isTrusted: (address: string) => boolean;
}

/**
 * @returns a function that rewrites the headers of a request and returns which of our origins it was
 * sent to; undefined: it was sent to another server
 */
export function createProxyHeaders(options: ProxyHeadersOptions): (request: IncomingMessage) => string | undefined {
  const issuer = new URL(options.origins[0]);
  const originOf = new Map(options.origins.map((origin) => [new URL(origin).host, origin]));
  const { isTrusted } = options;

  return (request) => {
    const { headers } = request;
    const peerAddress = request.socket.remoteAddress ?? '';
    const isProxied = isTrusted(peerAddress);
    const forwardedHost = isProxied ? single(headers['x-forwarded-host']) : undefined;
    const host = forwardedHost ?? headers.host ?? '';

    const forwardedFor = isProxied ? single(headers['x-forwarded-for']) : undefined;
    headers['x-forwarded-for'] = clientAddress(peerAddress, forwardedFor, isTrusted);
    headers['x-forwarded-proto'] = issuer.protocol.slice(0, -1);
    headers['x-forwarded-host'] = issuer.host;
    delete headers.forwarded;
    return originOf.get(host) ?? originOf.get(host.toLowerCase());
  };
}

/** From the right, the first address that is no trusted proxy: a client can invent the others. */
function clientAddress(
  peerAddress: string,
  forwardedFor: string | undefined,
  isTrusted: (address: string) => boolean,
): string {
  let address = canonicalAddress(peerAddress) ?? peerAddress;
  for (const entry of forwardedFor?.split(',').reverse() ?? []) {
    if (!isTrusted(address)) break;
    const previous = canonicalAddress(withoutPort(entry.trim()));
    if (previous === undefined) break;
    address = previous;
  }
  return address;
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

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}
