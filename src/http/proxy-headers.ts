// What a reverse proxy may say about a request. X-Forwarded-* headers count only when the peer is a trusted proxy; after this
// they are ours in any case, rewritten to one value each, so that everything behind it (Koa, the engine) may read
// them without asking again. The Host is checked here too: the engine builds absolute URLs from it, and a foreign one would
// put an attacker's address into the discovery document.

import type { IncomingMessage } from 'node:http';
import { withoutMapping } from '../config/values.ts';

export interface ProxyHeadersOptions {
  /** those that this server answers for, the issuer first */
  readonly origins: readonly [string, ...string[]];
  /** whether a peer is a proxy of ours */
  readonly isTrusted: (address: string) => boolean;
}

/**
 * @returns rewrites the headers of a request, and says by which of our origins the client has come; undefined: it means another
 * server
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
    const clientAddress = isProxied ? farthestTrusted(single(headers['x-forwarded-for']), peerAddress) : peerAddress;

    headers['x-forwarded-for'] = withoutMapping(clientAddress);
    headers['x-forwarded-proto'] = issuer.protocol.slice(0, -1);
    headers['x-forwarded-host'] = issuer.host;
    delete headers.forwarded;
    return originOf.get(host.toLowerCase());
  };

  /** From the right, the first address that is not one of our proxies: everything left of it may be invented. */
  function farthestTrusted(forwardedFor: string | undefined, peerAddress: string): string {
    const hops = (forwardedFor ?? '').split(',').map((hop) => hop.trim());
    let address = peerAddress;
    while (isAddress(address) && isTrusted(address) && hops.length > 0) {
      const hop = hops.pop();
      if (hop === undefined || !isAddress(hop)) break;
      address = hop;
    }
    return address;
  }
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}

function isAddress(text: string): boolean {
  return /^[0-9a-f.:]+$/i.test(text) && text !== '';
}
