// The client's certificate in a header, set by a proxy that terminates TLS in front of an API.

import { X509Certificate } from 'node:crypto';
import type { HttpRequestLike } from '../credentials.ts';
import { toPeerCheck } from '../peer-check.ts';

/**
 * For the option `clientCertificate`. Reads RFC 9440 (`Client-Cert: :MIIB…:`) and nginx's
 * `$ssl_client_escaped_cert` (PEM, percent-encoded).
 * @param name of the header; the proxy must set or remove it at every request
 * @param trustedProxies addresses and CIDR ranges of the proxies that may set it. A certificate is
 *   public, so another host that could set the header could use stolen tokens.
 * @returns a function from a request to the certificate in DER; undefined without a certificate,
 *   for one that cannot be parsed, or when the peer is not a trusted proxy
 * @throws TypeError for an empty list, or one with other entries
 */
export function certificateFromHeader(
  name: string,
  trustedProxies: readonly string[],
): (request: HttpRequestLike) => Uint8Array | undefined {
  if (!Array.isArray(trustedProxies) || trustedProxies.length === 0) {
    throw new TypeError('certificateFromHeader: trustedProxies needs at least one address');
  }
  const isTrusted = toPeerCheck(trustedProxies);
  return (request) =>
    isTrusted(request.socket?.remoteAddress ?? '') ? readCertificateHeader(request, name) : undefined;
}

/** Does not check the peer. */
export function readCertificateHeader(
  { headers, rawHeaders = [] }: Pick<HttpRequestLike, 'headers' | 'rawHeaders'>,
  name: string,
): Buffer | undefined {
  const header = name.toLowerCase();
  const value = headers[header];
  const occurrences = rawHeaders.filter((each, index) => index % 2 === 0 && each.toLowerCase() === header);
  if (typeof value !== 'string' || occurrences.length > 1) return undefined;
  try {
    const [, structured] = /^:([A-Za-z0-9+/=]+):$/.exec(value.trim()) ?? [];
    return new X509Certificate(structured === undefined ? decodeURIComponent(value) : Buffer.from(structured, 'base64'))
      .raw;
  } catch {
    return undefined;
  }
}
