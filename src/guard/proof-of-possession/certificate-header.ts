// The client's certificate as a proxy hands it on that terminates TLS in front of an API.

import { X509Certificate } from 'node:crypto';
import type { HttpRequestLike } from '../credentials.ts';
import { toPeerCheck } from '../peer-check.ts';

/**
 * For the option `clientCertificate`. Understands RFC 9440 (`Client-Cert: :MIIB…:`) and what nginx has in
 * `$ssl_client_escaped_cert` (PEM, percent-encoded).
 * @param name of the header. The proxy must set or remove it at every request.
 * @param trustedProxies addresses and CIDR ranges of the proxies that may set it. A certificate is no secret: whoever else could
 *   set the header would have the tokens of everybody whose certificate he has seen.
 * @returns a function from a request to the certificate in DER; undefined when there is none, it cannot be read, or somebody else
 *   has sent it
 * @throws TypeError for a list that is empty or holds anything else
 */
export function certificateFromHeader(
  name: string,
  trustedProxies: readonly string[],
): (request: HttpRequestLike) => Uint8Array | undefined {
  if (!Array.isArray(trustedProxies) || trustedProxies.length === 0) {
    throw new TypeError('certificateFromHeader: trustedProxies needs at least one address');
  }
  const isTrusted = toPeerCheck(trustedProxies);
  return (request) => {
    const { remoteAddress } = (request.socket ?? {}) as { remoteAddress?: string };
    return isTrusted(remoteAddress ?? '') ? readCertificateHeader(request, name) : undefined;
  };
}

/** Whoever has sent it. */
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
